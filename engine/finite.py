"""Losses and scores that are not finite end a run before they ruin what it has."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class NotFiniteError(RuntimeError):
    """The loss is not finite; ``step`` is the first of the steps in a row where it was not."""

    def __init__(self, step: int, where: str = "") -> None:
        place = f" of {where}" if where else ""
        super().__init__(f"the loss is not finite since step {step}{place}; the last checkpoint is untouched")
        self.step = step


class ScoreError(RuntimeError):
    """A score is not finite, so that nothing can be learned from it or ranked by it."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the score is not finite in {where}; the last checkpoint is untouched")


class FiniteWatch:
    """Collects losses without reading them; ``check`` reads them and stops what cannot recover.

    Loss scaling legitimately overflows now and then, so only ``patience`` bad steps in a row are too many.
    """

    def __init__(self, patience: int = 1) -> None:
        self.patience, self.pending, self.bad_since, self.streak = patience, [], None, 0

    def add(self, step: int, loss: Tensor) -> None:
        """Note a loss, to be read later."""
        self.pending.append((step, loss.detach()))  # no copy to the host: a GPU would be waited for

    def check(self) -> float | None:
        """The last loss, or None if there is no new one. Raises NotFiniteError."""
        if not self.pending:
            return None
        losses = torch.stack([loss for _, loss in self.pending]).tolist()  # one transfer for all of them
        for (step, _), loss in zip(self.pending, losses, strict=True):
            if math.isfinite(loss):
                self.bad_since, self.streak = None, 0  # the scale has recovered
                continue
            self.bad_since = step if self.bad_since is None else self.bad_since
            self.streak += 1
            if self.streak >= self.patience:
                raise NotFiniteError(self.bad_since)
        self.pending.clear()
        return losses[-1]


def require_finite(score: float, where: str) -> float:
    """The score itself. Raises ScoreError where it is not finite."""
    if not math.isfinite(score):
        raise ScoreError(where)
    return score
