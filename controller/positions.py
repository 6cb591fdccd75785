"""What a strategy chooses: an option at each of a row of positions, and what a row of options stands for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ops.genotype import Genotype
from ops.space import SPACES, Space


class Positions:
    """Candidates of a search as rows of options, of which candidate the row itself is one.

    ``options``: how many there are at each position. ``kinds``: options of positions of one kind mean the same.
    ``differs``: positions whose option is never that of an earlier one, which it names. ``symmetric``: whether swapping
    the edges of a node leaves the network of a candidate the same.
    """

    def __init__(self, space: Space) -> None:
        self.name, self.options = space.name, space.positions
        self.kinds: tuple[int, ...] = (0,) * len(self.options)
        self.differs: dict[int, int] = {}
        self.symmetric = False

    def build(self, row: Sequence[int]) -> Any:
        """The candidate of a row of options."""
        return tuple(row)

    def row(self, candidate: Any) -> list[int]:
        """The row of options of a candidate."""
        return list(candidate)

    def plain(self, candidate: Any) -> list:
        """A candidate as JSON and checkpoints hold it."""
        return list(candidate)

    def read(self, plain: Sequence) -> Any:
        """The candidate that :meth:`plain` describes."""
        return tuple(plain)

    def canonical(self, candidate: Any) -> Hashable:
        """The one that stands for all candidates that are the same network."""
        return candidate

    def rows(self, candidates: Sequence[Any]) -> Tensor:
        """Candidates as a table, (n, positions)."""
        return torch.tensor([self.row(candidate) for candidate in candidates])

    @property
    def sizes(self) -> Tensor:
        """How many options each position has, (positions,)."""
        return torch.tensor(self.options)

    @property
    def free(self) -> list[int]:
        """How many options a draw of each position chooses among, given those before it."""
        return [options - (position in self.differs) for position, options in enumerate(self.options)]

    def require_drawable(self, candidate: Any) -> None:
        """Raise ValueError for a candidate that is never drawn."""
        row = self.row(candidate)
        legal = len(row) == len(self.options) and all(0 <= v < most for v, most in zip(row, self.options, strict=True))
        if not legal or any(row[second] == row[first] for second, first in self.differs.items()):
            raise ValueError(f"{candidate} is never drawn in the space {self.name}")

    def uniform_rows(self, n: int, generator: torch.Generator) -> Tensor:
        """Rows of options, uniform over those that can be drawn: (n, positions)."""
        drawn = torch.rand(n, len(self.options), generator=generator, dtype=torch.float64)
        return self.legal((drawn * self.sizes).long(), generator)

    def uniform(self, n: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Draw ``n`` candidates, every option as likely as the others that can stand there."""
        return tuple(self.build(row) for row in self.uniform_rows(n, generator).tolist())

    def mutated(self, candidate: Any, generator: torch.Generator) -> Any:
        """A candidate that differs in one position, which is drawn uniformly, as is its new option among the others."""
        row = self.row(candidate)
        for position in torch.randperm(len(row), generator=generator).tolist():
            rivals = (sum(pair) - position for pair in self.differs.items() if position in pair)
            apart = {row[position], *(row[rival] for rival in rivals)}
            others = [option for option in range(self.options[position]) if option not in apart]
            if others:
                row[position] = others[int(torch.randint(len(others), (), generator=generator))]
                break
        return self.build(row)

    def one_hot(self, candidates: Sequence[Any]) -> Tensor:
        """Candidates as features, (n, sum of options): 1 where an option is taken."""
        rows = self.rows(candidates)
        return torch.cat([functional.one_hot(rows[:, i], k) for i, k in enumerate(self.options)], dim=1).double()

    def legal(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Rows, (n, positions), in which options that must differ do.

        Where the second of such a pair is the first again, it is drawn anew from the others. So uniform pairs become
        uniform pairs of different options.
        """
        if not self.differs:
            return rows
        second, first = list(self.differs), list(self.differs.values())
        before, after = rows[:, first], rows[:, second]  # (n, pairs) each
        others = self.sizes[second] - 1
        fresh = (torch.rand(before.shape, generator=generator, dtype=torch.float64) * others).long()
        fresh += fresh >= before  # from a number among the others to an option
        rows = rows.clone()
        rows[:, second] = torch.where(after == before, fresh, after)
        return rows


class CellPositions(Positions):
    """Genotypes of ``num_cells`` encodings: the integers of all of them in one row."""

    def __init__(self, num_cells: int, sharing: str, space: str = "slnas") -> None:
        self.num_cells, self.sharing, self.space = num_cells, sharing, SPACES[space]
        self.name, self.options = space, self.space.positions * num_cells
        operations = range(len(self.options))[self.space.operation_positions]  # of every encoding, which are even
        self.kinds = tuple(int(place in operations) for place in range(len(self.options)))
        # The two inputs of a node, where the space wants two different states.
        self.differs = {p: p - 2 for p in range(2, len(self.options), 4)} if self.space.distinct else {}
        self.symmetric = self.space.symmetric

    def build(self, row: Sequence[int]) -> Genotype:
        """The genotype of all integers in one row."""
        length = self.space.length
        return self.read([row[i : i + length] for i in range(0, len(row), length)])

    def row(self, candidate: Genotype) -> list[int]:
        """All integers of a genotype in one row."""
        return [value for cell in candidate.cells for value in cell]

    def plain(self, candidate: Genotype) -> list[list[int]]:
        """The encodings as lists."""
        return candidate.to_lists()

    def read(self, plain: Sequence[Sequence[int]]) -> Genotype:
        """The genotype of these encodings."""
        return Genotype.from_lists(plain, self.sharing, self.space.name)

    def canonical(self, candidate: Genotype) -> Genotype:
        """The genotype with the edges of every node in order, where that leaves the network the same."""
        return candidate.canonical()
