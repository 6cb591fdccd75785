"""Whether what a search found is better than chance: its winner beside random genotypes (docs/studies.md, section 29).

    python -m studies.winner result/search/mine-... --save mine --seeds 0,1 --epochs 12 -- --stem quarter

What stands behind ``--`` is for the retrainer, whose command the search has printed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.open_search import open_search
from engine.pieces import Maker
from engine.tasks import TASKS
from ops.genotype import Candidate, read_candidate
from studies.statistics import median
from studies.study import STUDY, TRAININGS, TrainingStudyConfig, run_study
from studies.tables import over_seeds, table, write_study
from studies.trainings import Training, draw_genotypes, retrain_flags, settings_of, train_all
from utils.config.flags import flag
from utils.reports import plots
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.signals import StopRequest

ABOUT = {
    "prog": "python -m studies.winner",
    "about": "Train the winner of a search and random genotypes of its space alike.",
    "example": "python -m studies.winner result/search/first-... --save first --epochs 12 -- --stem quarter",
    "positional": "runs",
    "help": "folder of a search",
}


@dataclass(frozen=True, kw_only=True)
class WinnerConfig(TrainingStudyConfig):
    """The flags of this study."""

    runs: tuple[str, ...] = ()
    random_genotypes: int = flag(3, "whose median counts", STUDY, type=numbers.positive_int)
    seeds: tuple[int, ...] = flag((0, 1), "of the trainings", TRAININGS, type=numbers.seeds, default_text="0,1")
    epochs: int = flag(12, "of each training", TRAININGS, type=numbers.positive_int)


@dataclass(frozen=True)
class Study:
    """What is trained: the winner first, then the random genotypes."""

    config: WinnerConfig
    candidates: Sequence[Candidate]
    flags: tuple[str, ...]
    measure: str
    settings: Mapping[str, Any]


def prepare(config: WinnerConfig, _stop: StopRequest) -> Study:
    """Read what the search found, and draw the others; refuses what cannot be trained, before anything is made."""
    if len(config.runs) > 1:
        raise UsageError("one search at a time: give each a --save of its own")
    [run] = config.runs
    s = open_search(run, device=config.device)
    winner = read_candidate(Path(run) / "genotypes.json", None, None, None)
    of, blocks = winner.genotype, winner.blocks or s.data.deployment.spec.blocks
    drawn = draw_genotypes(config.random_genotypes, "uniform", s.config.seed, s.config.blocks, of.sharing, of.space)
    flags = retrain_flags(flags_of(s.config), config.device, {"epochs": config.epochs}, config.rest)
    settings = {"winner": of.to_lists(), **settings_of(flags, of, blocks)[0]}
    measure = TASKS[s.task.retrained_as].final_measure
    return Study(config, [Candidate(g, blocks) for g in (of, *drawn)], flags, measure, settings)


def work(study: Study, log: RunLog, make_pieces: Maker) -> None:
    """Train all of them with every seed, and say what the winner is worth."""
    seeds, measure = study.config.seeds, study.measure
    rows = {
        number: [Training(log.folder / "standalone", study.flags, g, blocks, seed) for seed in seeds]
        for number, (g, blocks) in enumerate(study.candidates)
    }
    results = train_all(rows, make_pieces)
    values = [[one[f"valid/{measure}"] for one in results[number]] for number in rows]  # (candidates, seeds)
    names = ["winner", *(f"random {i}" for i in range(1, len(values)))]
    by_name = dict(zip(names, values, strict=True))
    cells = [candidate.genotype.to_lists() for candidate in study.candidates]
    document = {
        "study": "winner",
        "settings": study.settings,
        "seeds": list(seeds),
        "measure": measure,
        "trained": [{"name": n, "cells": c, measure: v} for n, c, v in zip(names, cells, values, strict=True)],
    }
    points = {name: [(i, value) for value in by_name[name]] for i, name in enumerate(names)}
    write_study(
        log,
        document,
        picture="winner.png",
        draw=lambda: plots.panels({"genotype": points}, measure),
        lines=["# A winner beside chance", "", *table(["", f"{measure} of each seed"], by_name.items())],
        summary=[sentence(values, measure)],
    )


def sentence(values: Sequence[Sequence[float]], measure: str) -> str:
    """What the winner is worth. ``values``: of it and of each random genotype, by seed."""
    winner, *others = values
    better = sum(statistics.fmean(winner) > statistics.fmean(other) for other in others)
    return (
        f"{measure} over {len(winner)} seeds: winner {over_seeds(winner)}, median of {len(others)} random genotypes "
        f"{over_seeds(median(others, statistics.fmean))}; the winner is better than {better} of them"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; see --help."""
    return run_study(WinnerConfig, argv, prepare, work, **ABOUT)


if __name__ == "__main__":
    sys.exit(main())
