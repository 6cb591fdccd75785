"""Drawing from the search space without a policy: uniform genotypes, and genotypes drawn until they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ops.genotype import ENCODING_LENGTH, OPERATIONS, Genotype

Fits = Callable[[Genotype], bool]
MAX_DRAWS = 2000  # for one genotype, before a limit counts as one that nothing meets


class NothingFitsError(RuntimeError):
    """No genotype of many draws meets the limits."""


def options(position: int) -> int:
    """How many values the integer at this position of an encoding can take."""
    node, field = divmod(position % ENCODING_LENGTH, 4)
    return node + 2 if field % 2 == 0 else len(OPERATIONS)


def from_genes(genes: Sequence[int], sharing: str) -> Genotype:
    """A genotype from its integers in one row."""
    cells = [genes[i : i + ENCODING_LENGTH] for i in range(0, len(genes), ENCODING_LENGTH)]
    return Genotype.from_lists(cells, sharing)


def genes_of(genotype: Genotype) -> list[int]:
    return [gene for cell in genotype.cells for gene in cell]


def uniform(n: int, num_cells: int, sharing: str, generator: torch.Generator) -> tuple[Genotype, ...]:
    """``n`` genotypes, every integer uniform over what it can be."""
    drawn = torch.rand(n, num_cells * ENCODING_LENGTH, generator=generator, dtype=torch.float64)
    sizes = torch.tensor([options(i) for i in range(num_cells * ENCODING_LENGTH)])
    rows = (drawn * sizes).long().tolist()
    return tuple(from_genes(row, sharing) for row in rows)


def draw_fitting(draw: Callable[[int], Sequence[Genotype]], n: int, fits: Fits | None) -> tuple[Genotype, ...]:
    """``n`` genotypes that fit, in the order in which ``draw(count)`` gives them.

    Raises NothingFitsError after MAX_DRAWS draws in a row without one.
    """
    if fits is None:
        return tuple(draw(n))
    found: list[Genotype] = []
    misses = 0
    while len(found) < n:
        for genotype in draw(max(n - len(found), 8)):
            if fits(genotype):
                found.append(genotype)
                misses = 0
            else:
                misses += 1
        if misses >= MAX_DRAWS:
            raise NothingFitsError(f"none of {misses} genotypes in a row meets the limits")
    return tuple(found[:n])
