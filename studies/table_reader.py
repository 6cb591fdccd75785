"""A search space whose networks were all trained before, by whoever made the table: a score costs one look-up.

The first column of a table names a genotype by one digit a position, the others are measures of it. The table that
comes with this project is described in data/tables/README.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.system.errors import UsageError
from utils.system.terminal import reason, show

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "tables" / "nasbench201_12epochs.csv.gz"
NAMED = "nasbench201"  # what --table calls it
DIGITS = "0123456789"

Encoding = tuple[int, ...]  # a choice at every position


@dataclass(frozen=True)
class Table:
    """Measures of genotypes. ``options``: how many choices each position has; ``columns``: measures by name, each in
    the order of ``rows``, which has the place of every genotype. Combinations of choices may be missing.
    """

    options: tuple[int, ...]
    rows: dict[Encoding, int]
    columns: dict[str, list[float]]

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, encoding: Encoding) -> bool:
        return encoding in self.rows

    def measure(self, encoding: Encoding, name: str) -> float:
        """A measure of a genotype that is in the table."""
        return self.columns[name][self.rows[encoding]]

    def best(self, name: str) -> float:
        """The highest value of a measure."""
        return max(self.columns[name])

    @property
    def is_complete(self) -> bool:
        """Whether every combination of choices is in the table."""
        return len(self.rows) == math.prod(self.options)

    def require_measures(self, flags: dict[str, str]) -> None:
        """Refuse flags, by name, that name no measure of the table. Raises UsageError."""
        for flag, name in flags.items():
            if name not in self.columns:
                raise UsageError(f"--{flag}: {show(name)} is none of the measures {', '.join(self.columns)}")


def options_of(text: str) -> tuple[int, ...]:
    """The choices of every position as they are typed, such as ``5,5,5``. Raises ArgumentTypeError."""
    parts = text.split(",")
    if not all(part.isdecimal() and part.isascii() and 1 <= int(part) <= len(DIGITS) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of choices: one number from 1 to 10 a position, 5,5,5")
    return tuple(map(int, parts))


def table_path(text: str) -> Path:
    """The file that ``--table`` means: the one that comes with the project, or any other."""
    return SHIPPED if text == NAMED else Path(text).expanduser()


def read_table(path: Path, options: Sequence[int] | None = None) -> Table:
    """Read a table, ``.csv`` or ``.csv.gz``. ``options``: of the positions, if not the digits that occur.

    Raises UsageError with the first line that cannot be used.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return _parse(csv.reader(file), options, show(path))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--table {show(path)} cannot be read: {reason(error)}") from None


def _parse(lines: Iterable[Sequence[str]], options: Sequence[int] | None, name: str) -> Table:
    lines = iter(lines)
    # The name of the first column is free; those of the others are what --signal and --judged_by take.
    _, *measures = next(lines, None) or [""]  # an empty file has no line at all
    if not measures or len(set(measures)) < len(measures) or "" in measures:
        raise UsageError(
            f"--table {name}: the first line names a column of genotypes and one measure or more, each once"
        )
    rows: dict[Encoding, int] = {}
    columns: dict[str, list[float]] = {measure: [] for measure in measures}
    for number, line in enumerate(lines, 2):  # the first line has the names
        where = f"--table {name}, line {number}"
        encoding = _encoding(line, len(measures), options, where)
        if rows and len(encoding) != len(next(iter(rows))):
            raise UsageError(f"{where}: {line[0]} has {len(encoding)} positions, the lines before have another number")
        if encoding in rows:
            raise UsageError(f"{where}: {line[0]} is there twice")
        rows[encoding] = len(rows)  # its place in the columns
        for measure, text in zip(measures, line[1:], strict=True):
            columns[measure].append(_number(text, f"{where}: {measure}"))
    if not rows:
        raise UsageError(f"--table {name} has no genotypes")
    # Without --options a position has the choices up to the highest digit in it.
    occurring = tuple(1 + max(choices) for choices in zip(*rows, strict=True))
    return Table(tuple(options or occurring), rows, columns)


def _encoding(line: Sequence[str], measures: int, options: Sequence[int] | None, where: str) -> Encoding:
    """The genotype of a line."""
    if len(line) != 1 + measures:
        raise UsageError(f"{where}: {len(line)} columns in place of {1 + measures}")
    text = line[0]
    if not text or text.strip(DIGITS):  # str.isdigit knows digits of other scripts too
        raise UsageError(f"{where}: {show(text)} is no genotype, which has one digit a position")
    encoding = tuple(map(int, text))
    if options is not None:
        if len(encoding) != len(options):
            raise UsageError(f"{where}: {text} has {len(encoding)} positions, --options {len(options)}")
        for position, (choice, number) in enumerate(zip(encoding, options, strict=True), 1):
            if choice >= number:
                raise UsageError(f"{where}: {text} has a {choice} at position {position}, which has {number} options")
    return encoding


def _number(text: str, where: str) -> float:
    """A measure, which is a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where} is {show(text)}, which is no finite number")
    return value
