"""Drawing genotypes from a strategy in a run: by name, alike in all processes, within the constraints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from controller.constraints import Constraints
from controller.sampling import Fits, NothingFitsError
from controller.strategies import Strategy
from ops.genotype import Genotype
from utils.system.errors import UsageError
from utils.system.processes import World
from utils.system.seeds import derived_seed


@dataclass
class Draws:
    """Genotypes from the strategy, the same in all processes; every draw has a seed of its own, from its names."""

    strategy: Strategy
    constraints: Constraints
    world: World
    seed: int

    def generator(self, *names: object) -> torch.Generator:
        """What a draw takes its random numbers from."""
        return torch.Generator().manual_seed(derived_seed(self.seed, *names))

    def sample(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes to train, to validate or to rank: nothing is learned from them."""
        return self._same(self.strategy.sample, n, names)

    def ask(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes whose scores the strategy will be told."""
        return self._same(self.strategy.ask, n, names)

    def _same(
        self, draw: Callable[[int, torch.Generator, Fits | None], Sequence[Genotype]], n: int, names: tuple[object, ...]
    ) -> list[Genotype]:
        try:
            return list(self.world.broadcast(draw(n, self.generator(*names), self.constraints.filter)))
        except NothingFitsError as error:
            raise UsageError(self.constraints.explained(error)) from None
