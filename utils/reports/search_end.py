"""The end of a search: pictures and report, result.json, then the last lines on the console."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from utils.reports import plots, report
from utils.reports.log import RunLog
from utils.runs.clock import Clock
from utils.system.files import write_figure


def write_search(
    log: RunLog,
    *,
    best: Any,
    draw: Callable[[Any], Any],
    points: Sequence[Sequence[tuple[float, float]]],
    cost: str,
    score: str,
    result: Mapping[str, Any],
    lines: Sequence[str],
    epochs: int,
    clock: Clock,
) -> None:
    """Write what a search found; every picture may fail alone.

    ``best``: the genotype, which ``draw`` makes a figure of. ``points``: (cost, score) of all candidates and of the
    front among them; ``cost`` and ``score``: what these are. ``lines``: said at the end. ``clock``: of the run.
    """
    pictures = {
        "derived": lambda: draw(best),
        "pareto": lambda: plots.pareto_plot(*points, cost, score),
    }
    for name, make in pictures.items():
        with log.decoration(f"{name}.png"):
            picture = make()
            log.figure(f"genotype/{name}", picture, epochs)
            write_figure(log.folder / f"{name}.png", picture, dpi=200)
    report.write(log, result=result, clock=clock)
    for line in lines:
        log.line(line)
    if log.writer is not None:
        log.line(f"look at the search with:  tensorboard --logdir {shlex.quote(str(log.folder))}")
