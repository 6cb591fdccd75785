"""Equal budgets for searches: how many epochs fit into seconds or images (docs/method.md, section 18.1)."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

KINDS = ("seconds", "images")
MOST = 10**5  # epochs: more are a typing error
RESTARTS = 3  # of the learning rate, as in the published ENAS: after 10, 30 and 70 of 150 epochs


class Budget(NamedTuple):
    """What each search may take: so many ``seconds`` or ``images``."""

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}={self.amount:g}"


def budget(text: str) -> Budget:
    """A budget as it is typed. Raises ArgumentTypeError."""
    kind, _, number = text.partition("=")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if kind not in KINDS or not (0 < amount < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is no budget: give seconds=600 or images=2e6, for example")
    return Budget(kind, amount)


@dataclass(frozen=True)
class Cost:
    """What the epochs of a search take, in seconds or in images.

    ``warm``: an epoch of the warm-up, in which the strategy rests; ``full``: any other; ``fixed``: what comes once,
    however many epochs there are.
    """

    warm: float
    full: float
    fixed: float = 0.0

    def of(self, epochs: int, warmup: int) -> float:
        """What ``epochs`` take, of which the first ``warmup`` are a warm-up."""
        warmup = min(warmup, epochs)
        return self.fixed + warmup * self.warm + (epochs - warmup) * self.full


def epochs_within(amount: float, cost: Cost, warmup: Callable[[int], int]) -> int:
    """The most epochs that take no more than ``amount``, 0 where not one does. ``warmup``: that of so many epochs."""

    def fits(epochs: int) -> bool:
        return cost.of(epochs, warmup(epochs)) <= amount

    if not fits(1):
        return 0
    low, high = 1, 2
    while high < MOST and fits(high):
        low, high = high, 2 * high
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def first_period(epochs: int, growth: int) -> int:
    """The epochs to the first restart, such that the last period ends with the last epoch.

    With as many restarts as that allows, up to the published three.
    """
    for restarts in range(RESTARTS, 0, -1):
        periods = sum(growth**i for i in range(restarts + 1))
        if epochs % periods == 0:
            return epochs // periods
    return epochs
