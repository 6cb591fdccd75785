"""Searching on shared weights that do not change: train them once by the search script, then let any searcher ask.

The functions are the work of pieces (studies/pieces.py): plain values in, plain values out.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import train_search_cifar as script
from data.loaders import forever
from engine.scoring import evaluating, require_finite
from studies.searches import open_search, shared_metrics
from utils.config import SearchConfig
from utils.runs.resume import runs_called
from utils.system.errors import WorkError
from utils.system.processes import World
from utils.system.signals import stop_requests


def weights_flags(config: SearchConfig) -> list[str]:
    """What the search is told besides its own flags: uniform paths only, and nothing that is not needed of its end."""
    only = ["--warmup_epochs", str(config.epochs), "--searcher", "random", "--derive_samples", "1"]
    return [*only, "--top_k", "1", "--no-tensorboard", "--resume", "auto"]


def train_weights(flags: Sequence[str], result: Path, seed: int) -> dict[str, Any]:
    """Run the search script, or go on with its run; which one it was. What it says is in the log.txt of the run."""
    return {"run": run_search([*flags, "--seed", str(seed)], result, f"seed{seed}").name}


def run_search(flags: Sequence[str], result: Path, save: str) -> Path:
    """Run the search script without a word on the console; the folder of its run. Raises WorkError."""
    said = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            script.main([*flags, "--save", save, "--result", str(result)])
    except SystemExit as end:
        if end.code > 128:  # stopped, with a checkpoint
            raise
        raise WorkError(" ".join(said.getvalue().split())) from None
    return runs_called(save, result / "search")[-1]


def search_frozen(
    result: Path, seed: int, searcher: str, changes: Mapping[str, Any], updates: int, candidates: int
) -> dict[str, Any]:
    """Let a searcher ask for genotypes and learn from their scores, then rank what it draws on all reward images.

    ``changes``: of the flags that the weights were trained under. ``scores``: of every genotype that was asked for, in
    order; ``asked`` and ``distinct`` count them. ``told``: what the searcher reports of each update. ``candidates``:
    the different ones among those drawn, best score first.
    """
    run = runs_called(f"seed{seed}", result / "search")[-1]
    s = open_search(run, searcher=searcher, controller_steps=updates, **changes)
    scores, told = [], []
    with stop_requests(World()) as stop, evaluating(s.supernet):
        batches = forever(s.rewards, 0)
        for update in range(updates):
            genotypes = s.draws.ask(s.config.controller_samples, "compare", update)
            shown = list(islice(batches, s.config.reward_batches))
            told.append(s.strategy.tell(script.rewards(s, genotypes, shown, f"update {update} of {searcher}")))
            scores += [s.known.scores[genotype] for genotype in genotypes]
            stop.check()
        drawn = s.draws.finalists(candidates, "derive")
        final = sorted(set(drawn))
        found = [metrics["score"] for metrics in shared_metrics(s, final, stop.check)]
    ranked = sorted(zip(found, final, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return {
        "asked": len(scores),
        "distinct": len(s.known),
        "scores": scores,
        "told": told,
        "drawn": len(drawn),
        "candidates": [
            {"score": require_finite(score, f"a candidate of {searcher}"), "cells": genotype.to_lists()}
            for score, genotype in ranked
        ],
    }
