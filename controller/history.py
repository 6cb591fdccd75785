"""What strategies share that learn from all scores that they were told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from controller.positions import Positions
from controller.sampling import Fits, draw_fitting


class HistoryStrategy(ABC):
    """A :class:`controller.strategies.Strategy` whose state is the candidates that were scored, in order of time.

    Subclasses say what they propose; all of it comes from the generator that is passed in and from this history.
    """

    def __init__(self, positions: Positions) -> None:
        self.positions = positions
        self.scored: list[tuple[Any, float]] = []
        self._asked: tuple[Any, ...] = ()

    @abstractmethod
    def propose(self, n: int, generator: torch.Generator) -> Sequence[Any]:
        """``n`` candidates that seem worth a score now."""

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Propose ``n`` candidates whose scores ``tell`` will be told."""
        self._asked = self.sample(n, generator, fits)
        return self._asked

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Candidates as the next ones that it would ask for."""
        return draw_fitting(lambda count: self.propose(count, generator), n, fits)

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the candidates that were asked for."""
        if len(scores) != len(self._asked) or not self._asked:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        # In order of time: what scored best may be of weights that have changed since.
        self.scored += zip(self._asked, map(float, scores), strict=True)
        self._asked = ()
        return {"reward": sum(scores) / len(scores), "best": max(score for _, score in self.scored)}

    def argmax(self) -> Any | None:
        """The candidate with the best score so far, on ties the first in order."""
        # A total order, so that the same scores give the same genotype in every process.
        return min(self.scored, key=lambda pair: (-pair[1], pair[0]), default=(None,))[0]

    def has_moved(self) -> bool:
        """Whether any score was told."""
        return bool(self.scored)

    def state_dict(self) -> dict[str, Any]:
        """Plain values: every candidate with its score."""
        return {"scored": [[self.positions.plain(candidate), score] for candidate, score in self.scored]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.scored = [(self.positions.read(plain), float(score)) for plain, score in state["scored"]]
