"""A search space whose networks were all trained before, by whoever made the table: a score costs one look-up.

The first column of a table names a genotype by one digit a position, the others are measures of it. The table that
comes with this project is described in data/tables/README.md.
"""

from __future__ import annotations

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


def table_path(text: str) -> Path:
    """The file that ``--table`` means: the one that comes with the project, or any other."""
    return SHIPPED if text == NAMED else Path(text).expanduser()


def read_table(path: Path) -> Table:
    """Read a table, ``.csv`` or ``.csv.gz``; a position has the choices up to the highest digit in it.

    Raises UsageError with the first line that cannot be used.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return _parse(csv.reader(file), show(path))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--table {show(path)} cannot be read: {reason(error)}") from None


def _parse(lines: Iterable[Sequence[str]], name: str) -> Table:
    # The name of the first column is free; those of the others are what --signal and --judged_by take.
    [_, *measures], *lines = [line or [""] for line in lines] or [[""]]  # an empty file or line has no word at all
    if not lines or not measures or len(set(measures)) < len(measures) or "" in measures:
        raise UsageError(
            f"--table {name}: the first line names a column of genotypes and one measure or more, each once; "
            "a genotype a line follows"
        )
    rows: dict[Encoding, int] = {}
    columns: dict[str, list[float]] = {measure: [] for measure in measures}
    positions = len(lines[0][0])
    for number, line in enumerate(lines, 2):  # the first line has the names
        word, *texts = line
        values = [_number(text) for text in texts]
        is_genotype = len(word) == positions > 0 and not word.strip(DIGITS)  # str.isdigit knows digits of other scripts
        encoding = tuple(map(int, word)) if is_genotype else ()
        if not encoding or encoding in rows or len(values) != len(measures) or not all(map(math.isfinite, values)):
            raise UsageError(
                f"--table {name}, line {number}: {show(','.join(line))} is not a genotype of {positions} digits that "
                f"no line before has, and {len(measures)} finite numbers"
            )
        rows[encoding] = len(rows)  # its place in the columns
        for measure, value in zip(measures, values, strict=True):
            columns[measure].append(value)
    return Table(tuple(1 + max(choices) for choices in zip(*rows, strict=True)), rows, columns)


def _number(text: str) -> float:
    """A number; nan for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
