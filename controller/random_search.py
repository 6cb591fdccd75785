"""Random search: the comparison that every strategy must win (docs/strategies.md, section 9; arXiv 1902.07638)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from controller.positions import Positions
from controller.sampling import Fits, draw_fitting


class RandomSearch:
    """Draw uniform candidates and learn nothing: a :class:`controller.strategies.Strategy`."""

    def __init__(self, positions: Positions) -> None:
        self.positions, self.waiting = positions, 0

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Draw ``n`` uniform candidates."""
        self.waiting = n
        return self.sample(n, generator, fits)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Draw ``n`` uniform candidates."""
        return draw_fitting(lambda count: self.positions.uniform(count, generator), n, fits)

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the last ``ask``, of which only the mean is reported."""
        if not scores or len(scores) != self.waiting:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        self.waiting = 0
        return {"reward": sum(scores) / len(scores)}

    def argmax(self) -> None:
        """None: all candidates are equally good to it."""
        return

    def has_moved(self) -> bool:
        """True: standing still is no fault of a strategy that does not learn."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Nothing: every draw comes from the generator that is passed in."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing, since there is no state."""
