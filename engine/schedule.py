"""Learning rate and drop path over a training: pure functions (docs/method.md, sections 4.1 and 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def cosine(epoch: float, epochs: float, highest: float, lowest: float = 0.0) -> float:
    """Follow half a cosine from ``highest`` in epoch 0 towards ``lowest`` after the last (SGDR, arXiv 1608.03983)."""
    return lowest + (highest - lowest) / 2 * (1 + math.cos(math.pi * epoch / epochs))


def cosine_restarts(epoch: float, period: int, growth: int, highest: float, lowest: float = 0.0) -> float:
    """Repeat the cosine: over ``period`` epochs, then ``growth`` times as many, and so on."""
    if growth == 1:
        return cosine(epoch % period, period, highest, lowest)
    while epoch >= period:
        epoch -= period
        period *= growth
    return cosine(epoch, period, highest, lowest)


@dataclass(frozen=True)
class Schedule:
    """The learning rate by epoch, counted from 0, or with ``by_step`` by step; ``kind``: a name in SCHEDULES."""

    kind: str
    epochs: int
    highest: float
    lowest: float
    period: int
    growth: int
    warmup: int = 0
    by_step: bool = False

    def lr(self, epoch: int, step: int = 0, steps: int = 1) -> float:
        """The learning rate of an epoch, or of one of its ``steps``.

        Through the first ``warmup`` epochs it rises linearly to that of the cosine.
        """
        unit = 1 / steps if self.by_step else 1.0  # what the rate is constant for, in epochs
        at = epoch + step * unit if self.by_step else epoch
        rise = min(1.0, (at + unit) / (self.warmup + unit))
        return rise * SCHEDULES[self.kind](self, at)  # the cosine runs on beneath the warm-up


# By name, the learning rate of an epoch but for its warm-up.
SCHEDULES: dict[str, Callable[[Schedule, float], float]] = {
    "cosine": lambda s, epoch: cosine(epoch, s.epochs, s.highest, s.lowest),
    "cosine_restarts": lambda s, epoch: cosine_restarts(epoch, s.period, s.growth, s.highest, s.lowest),
}


def drop_path_ramp(epoch: float, epochs: int, highest: float, until: float = 1.0) -> float:
    """The drop-path probability ``highest * epoch / epochs``, constant once ``until`` of the epochs are over."""
    return highest * min(epoch, until * epochs) / epochs
