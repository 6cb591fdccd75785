"""Searches that were run, to be judged: their shared weights and what is scored with them. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import train_search_cifar as script
from ops.genotype import Genotype
from ops.space import SPACES
from train_search_cifar import Search
from utils.config import SearchConfig
from utils.runs import resume
from utils.runs.session import session
from utils.system import checkpoint
from utils.system.errors import UsageError
from utils.system.terminal import show


def open_search(run: str | Path, **changes: Any) -> Search:
    """A search with the shared weights that its run ranks by, and a fresh strategy; the run is not touched.

    ``changes``: flags in place of those of the run, another searcher for one. Raises UsageError for what is no search,
    for a space that is not known, and for data that are gone or not those of the run.
    """
    path = resume.checkpoint_in(Path(run).expanduser())
    state = resume.read_run(path, "search")
    with session(_config(state, path, changes), "search") as opened:
        opened.saved, opened.path = state, path  # data are compared with those of the run
        s = script.assemble(opened)
    with checkpoint.fitting(path):
        checkpoint.load_weights(s.supernet, state["model"], path)
        if "last" in state["extras"]:
            s.last.load_state_dict(state["extras"]["last"])
            if s.last.kept:
                s.supernet.load_state_dict(s.last.mean())
    s.training.at = resume.Position(**state["position"])
    return s


def _config(state: Mapping[str, Any], path: Path, changes: Mapping[str, Any]) -> SearchConfig:
    """The flags of a run, ``changes`` in place of its own; what an older run does not state has its default."""
    known = {f.name for f in fields(SearchConfig)} - {"given"}
    stored = {name: value for name, value in state["flags"].items() if name in known}
    with checkpoint.fitting(path):
        config = SearchConfig(**{**stored, "resume": None, **changes})
    if config.space not in SPACES:
        raise UsageError(f"{show(path)} is of the space {show(config.space)}, which is none of {', '.join(SPACES)}")
    return config


def shared_metrics(
    s: Search, genotypes: Sequence[Genotype], done: Callable[[], None] = lambda: None
) -> list[dict[str, float]]:
    """The metrics of each genotype with the shared weights on all reward images; ``done`` is called now and then."""
    s.rewards.set_epoch(0)
    return s.scorer.metrics(genotypes, s.rewards, done)
