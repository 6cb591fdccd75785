"""Drawing genotypes without a policy, uniform and varied, and drawing until some fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from controller.positions import CellPositions
from ops.genotype import Genotype

Fits = Callable[[Any], bool]
MAX_DRAWS = 2000  # for one genotype, before a limit counts as one that nothing meets


class NothingFitsError(RuntimeError):
    """No genotype of many draws meets the constraints."""


def uniform(
    n: int, num_cells: int, sharing: str, generator: torch.Generator, space: str = "slnas"
) -> tuple[Genotype, ...]:
    """Draw ``n`` genotypes, every integer uniform over its options, given those before it."""
    return CellPositions(num_cells, sharing, space).uniform(n, generator)


def varied(
    n: int, num_cells: int, sharing: str, generator: torch.Generator, space: str = "slnas"
) -> tuple[Genotype, ...]:
    """Draw ``n`` genotypes that differ more than uniform ones do: each encoding mixes the operations in its own way.

    The shares that it draws them with are of a Dirichlet distribution with all parameters 1/2, as squares of normal
    numbers are. Inputs are uniform.
    """
    positions = CellPositions(num_cells, sharing, space)
    rows = positions.uniform_rows(n, generator).view(n * num_cells, -1)  # (encodings, integers)
    operations = len(positions.space.operations)
    shares = torch.randn(len(rows), operations, generator=generator, dtype=torch.float64).square()
    at = positions.space.operation_positions
    edges = rows[:, at].shape[1]
    rows[:, at] = torch.multinomial(shares, edges, replacement=True, generator=generator)
    return tuple(positions.build(row) for row in rows.view(n, -1).tolist())


POPULATIONS = {"uniform": uniform, "varied": varied}  # by name, what draws the genotypes of a study


def draw_fitting(draw: Callable[[int], Sequence[Any]], n: int, fits: Fits | None) -> tuple[Any, ...]:
    """Draw ``n`` candidates that fit, in the order in which ``draw(count)`` gives them.

    Raises NothingFitsError after MAX_DRAWS draws in a row without one.
    """
    if fits is None:
        return tuple(draw(n))
    fitting: list[Any] = []
    misses = 0
    while len(fitting) < n:
        for candidate in draw(max(n - len(fitting), 8)):
            if fits(candidate):
                fitting.append(candidate)
                misses = 0
            else:
                misses += 1
        if misses >= MAX_DRAWS:
            raise NothingFitsError(f"none of {misses} genotypes in a row meets the limits")
    return tuple(fitting[:n])
