"""Run the search script, and open its runs: what their winners are, and what their shared weights say of genotypes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import train_search_cifar as script
from controller.genotype_sampler import GenotypeSampler
from engine import search_setup as setup
from engine.passes import Learner
from engine.scoring import Scorer
from engine.search_setup import SearchData
from engine.tasks import TASKS, Task
from ops.genotype import Genotype, read_candidate
from ops.space import SPACES
from utils.config import SearchConfig
from utils.runs import resume
from utils.runs.context import Earlier, RunContext, run_context
from utils.system import checkpoint
from utils.system.errors import UsageError, WorkError
from utils.system.files import read_json
from utils.system.terminal import show

QUIET = ("--no-tensorboard", "--resume", "auto")


def run_search(flags: Sequence[str], result: Path, save: str) -> Path:
    """Run the search script without a word on the console, or go on with its run; the folder of the run.

    Raises WorkError with the line that the script ends with.
    """
    errors = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            # --resume auto starts a run where there is none of this name, and ends at once where it is complete.
            script.main([*flags, *QUIET, "--save", save, "--result", str(result)])
    except SystemExit as end:
        if end.code > 128:  # 128 + the signal that stopped it, with a checkpoint
            raise
        raise WorkError(" ".join(errors.getvalue().split())) from None
    # A name can have several runs, of which the newest is the one that was just at work.
    return resume.runs_called(save, result / "search")[-1]


def search_method(words: Sequence[str], folder: Path, method: str, seed: int) -> dict[str, Any]:
    """Run the search of a method, or go on with it: its winner, and what that took.

    ``images``: those that passed through the shared weights, each as often as it did, in the epochs;
    ``derive_images``: likewise in the ranking behind them, which is no part of the budget.
    """
    run = run_search([*words, "--report_freq", "1000000", "--seed", str(seed)], folder, f"{method}-seed{seed}")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    result, document = read_json(run / "result.json"), read_json(run / "genotypes.json")
    if not result or not document:
        raise WorkError(f"{run} has no result")
    winner = read_candidate(f"{run / 'genotypes.json'}#0", None, None, None).genotype
    return {
        "run": run.name,
        "seed": seed,
        "genotype": as_plain(winner),
        "score": result["score"],
        "epochs": len(records),
        "search_s": sum(record["time/epoch_s"] for record in records),
        "derive_s": result["derive_s"],
        "images": sum(record["images/trained"] + record.get("images/scored", 0) for record in records),
        "derive_images": document["ranked"] * document["reward_images"],  # each candidate on all of them
        **({"nao": result["nao"]} if "nao" in result else {}),
    }


def as_plain(genotype: Genotype) -> dict[str, Any]:
    """A genotype as plain values."""
    concat = [list(states) for states in genotype.concat]
    return {"cells": genotype.to_lists(), "sharing": genotype.sharing, "space": genotype.space, "concat": concat}


# Shared weights of a run


@dataclass(frozen=True)
class OpenSearch:
    """The parts of a search, without a run of its own. ``epoch``: how many its weights were trained for."""

    config: SearchConfig
    task: Task
    data: SearchData
    learner: Learner
    sampler: GenotypeSampler
    scorer: Scorer
    epoch: int = 0


def assemble(context: RunContext) -> OpenSearch:
    """Read the data and build what searches on them, with fresh weights. Refuses what does not fit together."""
    task = TASKS[context.config.task].search()
    data = setup.open_search(context, task)
    learner = setup.build_supernet(context, data.spec)
    sampler = setup.build_sampler(context, data.deployment)
    scorer = setup.build_scorer(context, learner, task, data.calibration)
    return OpenSearch(context.config, task, data, learner, sampler, scorer)


def open_search(run: str | Path, **changes: Any) -> OpenSearch:
    """A search with the shared weights that its run ranks by, and a fresh strategy; the run is not touched.

    ``changes``: flags in place of those of the run, another searcher for one. Raises UsageError for what is no search,
    for a space that is not known, and for data that are gone or not those of the run.
    """
    path = resume.checkpoint_in(run)
    state = resume.read_run(path, "search")
    known = {f.name for f in fields(SearchConfig)} - {"given"}  # what an older run does not state has its default
    stored = {name: value for name, value in state["flags"].items() if name in known}
    with checkpoint.fitting(path):
        config = SearchConfig(**{**stored, "resume": None, **changes})
    if config.space not in SPACES:
        raise UsageError(f"{show(path)} is of the space {show(config.space)}, which is none of {', '.join(SPACES)}")
    # resume is None: flags are those of the run, but nothing goes on with it, and nothing is locked or written.
    with run_context(config, "search") as context:
        context.earlier = Earlier(path, state)  # data are compared with those of the run
        search = assemble(context)
    with checkpoint.fitting(path):
        checkpoint.load_weights(search.learner.model, state["model"], path)
    return replace(search, epoch=state["position"]["epoch"])


def shared_metrics(
    s: OpenSearch, genotypes: Sequence[Genotype], done: Callable[[], None] = lambda: None
) -> list[dict[str, float]]:
    """The metrics of each genotype with the shared weights on all reward images; ``done`` is called now and then."""
    s.data.rewards.set_epoch(0)  # the order of the pass that a search ranks on
    return s.scorer.metrics(genotypes, s.data.rewards, done)
