"""How studies are written: study.json, the tables of study.md, and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from utils.reports.log import RunLog, write_json
from utils.system.files import write_figure, write_text

STUDY_JSON, STUDY_MD = "study.json", "study.md"


def write_study(
    log: RunLog,
    study: Mapping[str, Any],
    *,
    picture: str,
    draw: Callable[[], Any],
    lines: Sequence[str],
    summary: Iterable[str],
) -> None:
    """Write the files of a study, study.json last, and say the essence of it.

    ``draw`` makes the picture of that name, and may fail alone; ``lines``: of study.md; ``summary``: of the console.
    """
    with log.decoration(picture):
        write_figure(log.folder / picture, draw(), dpi=200)
    write_text(log.folder / STUDY_MD, "\n".join(lines) + "\n")
    write_json(log.folder / STUDY_JSON, study)
    for line in summary:
        log.line(line)
    log.line(f"the study is in {log.folder / STUDY_MD}")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table in Markdown, its values as :func:`cell` has them, and the empty line behind it."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""]


def cell(value: Any) -> str:
    """A value as tables have it: numbers with three digits or commas between thousands, a dash where there is none."""
    if value is None:
        return "-"
    if not isinstance(value, float):  # whole numbers and texts as they are
        return str(value)
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def over_seeds(values: Sequence[float]) -> str:
    """Mean and, of several, std."""
    std = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""  # of one seed nothing is known
    return cell(statistics.fmean(values)) + std


def as_words(settings: Mapping[str, Any]) -> str:
    """The flags among settings. Where the data lie is nothing that results depend on."""
    return " ".join(f"`{k} {v}`" for k, v in settings.items() if k.startswith("--") and k != "--data")
