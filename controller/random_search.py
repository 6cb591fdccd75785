"""Random search: the comparison that every strategy must win (Li and Talwalkar, arXiv 1902.07638)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from controller.sampling import Fits, draw_fitting, uniform
from ops.genotype import Genotype


class RandomSearch:
    """Uniform genotypes; nothing is learned. See :class:`controller.strategies.Strategy`."""

    def __init__(self, num_cells: int, sharing: str, space: str = "slnas") -> None:
        self.num_cells, self.sharing, self.space, self.waiting = num_cells, sharing, space, 0

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        self.waiting = n
        return self.sample(n, generator, fits)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        return draw_fitting(lambda count: uniform(count, self.num_cells, self.sharing, generator, self.space), n, fits)

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        if not scores or len(scores) != self.waiting:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        self.waiting = 0
        return {"reward": sum(scores) / len(scores)}

    def argmax(self) -> Genotype | None:
        return None

    def has_moved(self) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
