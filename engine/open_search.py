"""A search that is put together apart from its run: from its flags, or with the shared weights of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from controller.genotype_sampler import GenotypeSampler
from engine import search_setup as setup
from engine.passes import Learner
from engine.scoring import Scorer
from engine.search_setup import SearchData
from engine.tasks import TASKS, Task
from ops.genotype import Genotype
from ops.space import SPACES
from utils.config import SearchConfig
from utils.reports.log import RunLog
from utils.runs import resume
from utils.runs.context import Earlier, RunContext
from utils.system import checkpoint
from utils.system.device import choose_kernels, pick_device
from utils.system.errors import UsageError
from utils.system.processes import World
from utils.system.terminal import show


@dataclass(frozen=True)
class OpenSearch:
    """The parts of a search, without a run of its own."""

    context: RunContext
    task: Task
    data: SearchData
    learner: Learner
    sampler: GenotypeSampler
    scorer: Scorer

    @property
    def config(self) -> SearchConfig:
        """Its flags."""
        return self.context.config

    @property
    def epoch(self) -> int:
        """How many epochs its weights were trained for."""
        return 0 if self.context.earlier is None else self.context.earlier.state["position"]["epoch"]


def assemble(context: RunContext) -> OpenSearch:
    """Read the data and build what searches on them, with fresh weights. Refuses what does not fit together."""
    task = TASKS[context.config.task].search()
    data = setup.open_search(context, task)
    learner = setup.build_supernet(context, data.spec)
    sampler = setup.build_sampler(context, data.deployment)
    scorer = setup.build_scorer(context, learner, task, data.calibration)
    return OpenSearch(context, task, data, learner, sampler, scorer)


def open_search(run: str | Path, on: torch.device | None = None, *, silent: bool = False, **changes: Any) -> OpenSearch:
    """A search with the shared weights that its run ranks by, and a fresh strategy; the run is not touched.

    It is of this process alone, whatever processes the run has. ``on``: a device, unless the flags are to choose it.
    ``changes``: flags in place of those of the run, another searcher for one. Raises UsageError for what is no search,
    for a space that is not known, and for data that are gone or not those of the run.
    """
    path = resume.checkpoint_in(run)
    state = resume.read_run(path, "search")
    known = {f.name for f in fields(SearchConfig)} - {"given"}  # what an older run does not state has its default
    stored = {name: value for name, value in state["flags"].items() if name in known}
    with checkpoint.fitting(path):
        # Flags are those of the run, but nothing goes on with it, and nothing is locked or written.
        config = SearchConfig(**{**stored, "resume": None, **changes})
    if config.space not in SPACES:
        raise UsageError(f"{show(path)} is of the space {show(config.space)}, which is none of {', '.join(SPACES)}")
    choose_kernels(deterministic=config.deterministic, tf32=config.tf32)
    device = on or pick_device(config.device, config.gpu, 0)
    # Data are compared with those of the run.
    context = RunContext("search", config, World(), device, RunLog(silent=silent), ExitStack(), Earlier(path, state))
    search = assemble(context)
    with checkpoint.fitting(path):
        checkpoint.load_weights(search.learner.model, state["model"], path)
    return search


def shared_metrics(
    s: OpenSearch, genotypes: Sequence[Genotype], done: Callable[[], None] = lambda: None
) -> list[dict[str, float]]:
    """The metrics of each genotype with the shared weights on all reward images; ``done`` is called now and then."""
    s.data.rewards.set_epoch(0)  # the order of the pass that a search ranks on
    return s.scorer.metrics(genotypes, s.data.rewards, done)
