"""Learning rate and drop path by epoch: pure functions, nothing is stepped (docs/method.md, sections 4.1 and 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def cosine(epoch: float, epochs: float, highest: float, lowest: float = 0.0) -> float:
    """Follow half a cosine from ``highest`` in epoch 0 towards ``lowest`` after the last (SGDR, arXiv 1608.03983)."""
    return lowest + (highest - lowest) / 2 * (1 + math.cos(math.pi * epoch / epochs))


def cosine_restarts(epoch: int, period: int, growth: int, highest: float, lowest: float = 0.0) -> float:
    """Repeat the cosine: over ``period`` epochs, then ``growth`` times as many, and so on."""
    if growth == 1:
        return cosine(epoch % period, period, highest, lowest)
    while epoch >= period:
        epoch -= period
        period *= growth
    return cosine(epoch, period, highest, lowest)


@dataclass(frozen=True)
class Schedule:
    """The learning rate by epoch, counted from 0; ``kind``: a name in SCHEDULES."""

    kind: str
    epochs: int
    highest: float
    lowest: float
    period: int
    growth: int
    warmup: int = 0

    def lr(self, epoch: int) -> float:
        """The learning rate of an epoch; through the first ``warmup`` ones it rises linearly to that of the cosine."""
        rise = min(1.0, (epoch + 1) / (self.warmup + 1))
        return rise * SCHEDULES[self.kind](self, epoch)


# By name, the learning rate of an epoch but for its warm-up.
SCHEDULES: dict[str, Callable[[Schedule, int], float]] = {
    "cosine": lambda s, epoch: cosine(epoch, s.epochs, s.highest, s.lowest),
    "cosine_restarts": lambda s, epoch: cosine_restarts(epoch, s.period, s.growth, s.highest, s.lowest),
}


def drop_path_ramp(epoch: int, epochs: int, highest: float, until: float = 1.0) -> float:
    """The drop-path probability ``highest * epoch / epochs``, constant once ``until`` of the epochs are over."""
    return highest * min(epoch, until * epochs) / epochs
