"""Random search: the comparison that every strategy must win (docs/method.md, section 9; arXiv 1902.07638)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from controller.sampling import Fits, draw_fitting, uniform
from ops.genotype import Genotype


class RandomSearch:
    """Draw uniform genotypes and learn nothing: a :class:`controller.strategies.Strategy`."""

    def __init__(self, num_cells: int, sharing: str, space: str = "slnas") -> None:
        self.num_cells, self.sharing, self.space, self.waiting = num_cells, sharing, space, 0

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Draw ``n`` uniform genotypes."""
        self.waiting = n
        return self.sample(n, generator, fits)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Draw ``n`` uniform genotypes."""
        return draw_fitting(lambda count: uniform(count, self.num_cells, self.sharing, generator, self.space), n, fits)

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the last ``ask``, of which only the mean is reported."""
        if not scores or len(scores) != self.waiting:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        self.waiting = 0
        return {"reward": sum(scores) / len(scores)}

    def argmax(self) -> Genotype | None:
        """None: all genotypes are equally good to it."""
        return None

    def has_moved(self) -> bool:
        """True: standing still is no fault of a strategy that does not learn."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Nothing: every draw comes from the generator that is passed in."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing, since there is no state."""
