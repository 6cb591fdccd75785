"""Regularized evolution (Real et al., arXiv 1802.01548): the oldest dies, not the worst."""

from __future__ import annotations

from typing import Any

import torch

from controller.history import HistoryStrategy
from controller.positions import Positions

POPULATION = 50  # the last candidates that were scored; chosen with the next on a table (docs/results.md)
SAMPLE = 10  # of them, drawn with replacement, compete to be the parent


class RegularizedEvolution(HistoryStrategy):
    """Score ``population`` uniform candidates, then children of the best of ``sample`` members of the population.

    A child differs from its parent in one position. The population is what was scored last, so that a candidate that
    was scored too well by chance is not a parent for ever.
    """

    def __init__(self, positions: Positions, population: int = POPULATION, sample: int = SAMPLE) -> None:
        super().__init__(positions)
        self.population, self.competitors = population, sample

    def propose(self, n: int, generator: torch.Generator) -> list[Any]:
        """``n`` children, or uniform candidates while the population is not full."""
        if len(self.scored) < self.population:
            return list(self.positions.uniform(n, generator))
        members = self.scored[-self.population :]
        picked = torch.randint(len(members), (n, self.competitors), generator=generator).tolist()
        parents = [max((members[i] for i in row), key=lambda member: member[1])[0] for row in picked]
        return [self.positions.mutated(parent, generator) for parent in parents]
