"""Drawing genotypes from a strategy in a run: by name, alike in all processes, within the constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch

from controller.constraints import Constraints
from controller.sampling import Fits, NothingFitsError
from controller.statistics import Seen
from controller.strategies import Strategy
from ops.genotype import Genotype
from utils.system.errors import UsageError
from utils.system.processes import World
from utils.system.seeds import derived_seed

FreeDraw = Callable[[int, torch.Generator], Sequence[Genotype]]  # so many genotypes, without a strategy


@dataclass
class GenotypeSampler:
    """Genotypes from the strategy, the same in all processes; every draw has a seed of its own, from its names.

    ``canonical``: one encoding stands for all that describe the same network, wherever genotypes are used. The
    strategy does not know: what it learns from is the log-probability of the encoding that it drew. ``seen``: counts
    the genotypes that were trained or scored. ``free_draw``: draws without the strategy, as shared weights are trained
    during the warm-up, and always where ``trains_policy`` is False.
    """

    strategy: Strategy
    constraints: Constraints
    world: World
    seed: int
    canonical: bool = False
    seen: Seen = field(default_factory=Seen)
    free_draw: FreeDraw | None = None
    trains_policy: bool = True

    def generator(self, *names: object) -> torch.Generator:
        """What a draw takes its random numbers from."""
        return torch.Generator().manual_seed(derived_seed(self.seed, *names))

    def sample(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes to train, to validate or to rank: nothing is learned from them."""
        return self._same(self.strategy.sample, n, names)

    def ask(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes whose scores the strategy will be told."""
        return self._same(self.strategy.ask, n, names)

    def finalists(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes to rank at the end, or fewer: the strategy's own choice, if it has one."""
        return self._same(getattr(self.strategy, "finalists", self.strategy.sample), n, names)

    def form(self, genotypes: Iterable[Genotype]) -> list[Genotype]:
        """Genotypes as the search trains, scores and counts them."""
        return [genotype.canonical() if self.canonical else genotype for genotype in genotypes]

    def _same(
        self, draw: Callable[[int, torch.Generator, Fits | None], Sequence[Genotype]], n: int, names: tuple[object, ...]
    ) -> list[Genotype]:
        test = self.constraints.filter
        # Tested in the form that is used, so that each network is priced once.
        fits = (lambda genotype: test(*self.form([genotype]))) if test else None
        try:
            return self.form(self.world.broadcast(draw(n, self.generator(*names), fits)))
        except NothingFitsError as error:
            raise UsageError(self.constraints.explained(error)) from None
