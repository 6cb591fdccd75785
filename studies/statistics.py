"""How well a ranking is: correlations with intervals, both ends, paired tests (docs/method.md, section 16).

``true`` and ``scores`` are numbers of the same genotypes in the same order, higher is better: stand-alone results, and
what a ranker gave. Fewer genotypes than a statistic needs, or numbers that are not finite, raise StatisticsError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from utils.system.errors import UsageError

SHARES = (5, 10, 25)  # percent of all genotypes
RESAMPLES = 2000
LEVEL = 95  # percent that an interval covers


class StatisticsError(UsageError, ValueError):
    """A statistic that these numbers cannot have: one line."""


class Correlation(NamedTuple):
    """A rank correlation in [-1, 1] and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Paired(NamedTuple):
    """A paired comparison: mean of the differences, their std, and two-sided p of a t-test and of Wilcoxon's test."""

    pairs: int
    mean: float
    std: float
    t_p: float
    wilcoxon_p: float


def kendall_tau(
    true: Sequence[float], scores: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Correlation:
    """Kendall's tau-b, in which ties count for neither side, with a percentile bootstrap interval."""
    return _correlation("Kendall's tau", _taus, true, scores, seed, resamples)


def spearman_rho(
    true: Sequence[float], scores: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Correlation:
    """Spearman's rho, with mean ranks for ties and a percentile bootstrap interval."""
    return _correlation("Spearman's rho", _rhos, true, scores, seed, resamples)


def precision_at(true: Sequence[float], scores: Sequence[float], percent: float, *, top: bool = True) -> float:
    """The share of the best ``percent`` by score that are among the truly best, in [0, 1]; or of the worst.

    How many that are is rounded to a whole number, halves up. Equal numbers give the share that is expected of a random
    order among them.
    """
    name = f"precision at the {'top' if top else 'bottom'} {percent:g} %"
    x, y = _pair(name, true, scores, least=1)
    k = _count(len(x), percent)
    if k < 1:
        raise StatisticsError(f"{name} needs {_least(percent)} genotypes or more, there are {len(x)}")
    sign = 1 if top else -1
    return float((_membership(sign * x, k) * _membership(sign * y, k)).sum() / k)


def precisions(true: Sequence[float], scores: Sequence[float]) -> dict[str, float | None]:
    """Precision at the top and the bottom 5, 10 and 25 %, by name; None where there are too few genotypes for one."""
    found: dict[str, float | None] = {}
    for side in ("top", "bottom"):
        for percent in SHARES:
            enough = _count(len(true), percent) >= 1
            found[f"{side}_{percent}"] = precision_at(true, scores, percent, top=side == "top") if enough else None
    return found


def true_ranks(true: Sequence[float], scores: Sequence[float], k: int) -> list[int]:
    """The true ranks of the best ``k`` by score, best score first; 0 is the best there is.

    Equal true values share the better rank; equal scores come in the given order.
    """
    x, y = _pair(f"the true rank of the best {k}", true, scores, least=k)
    best = np.argsort(-y, kind="stable")[:k]
    return [int((x > x[i]).sum()) for i in best]


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Whether ``first`` differs from ``second``, value by value: Student's paired t-test, and Wilcoxon's signed ranks.

    Without any difference both p are 1.
    """
    x, y = _pair("a paired test", first, second, least=2, what="pairs")
    differences = x - y
    mean, std = float(differences.mean()), float(differences.std(ddof=1))
    if not differences.any():
        return Paired(len(x), 0.0, 0.0, 1.0, 1.0)
    t = mean / (std / len(x) ** 0.5) if std else np.inf  # all differ by the same
    t_p = float(2 * stats.t.sf(abs(t), len(x) - 1))
    return Paired(len(x), mean, std, t_p, float(stats.wilcoxon(differences).pvalue))


def _correlation(
    name: str,
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    true: Sequence[float],
    scores: Sequence[float],
    seed: int,
    resamples: int,
) -> Correlation:
    """The correlation, and the percentiles of the same over genotypes that are drawn with replacement.

    A draw in which all of one side are equal has no correlation, and is left out.
    """
    x, y = _pair(name, true, scores, least=3)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise StatisticsError(f"{name} needs numbers that differ: all {len(x)} of one side are equal")
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(float)
    (value,), found = (measure(x, y, how_often) for how_often in (np.ones((1, len(x))), counts))
    low, high = np.nanpercentile(found, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Correlation(float(value), float(low), float(high))


def _taus(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each draw, whose row in ``counts`` (draws, n) says how often it holds each pair: (draws,)."""
    a, b = (np.sign(side[:, None] - side) for side in (x, y))
    agree, of_x, of_y = (((counts @ signs) * counts).sum(1) for signs in (a * b, a * a, b * b))
    return _ratio(agree, of_x, of_y)


def _rhos(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's rho of each draw, as :func:`_taus` takes them: (draws,)."""
    # Mean ranks within the draw, counted from their mean.
    u, v = (counts @ ((s[:, None] < s) - 0.5 + 0.5 * (s[:, None] == s)) for s in (x, y))
    return _ratio((counts * u * v).sum(1), (counts * u * u).sum(1), (counts * v * v).sum(1))


def _ratio(agree: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return agree / np.sqrt(of_x * of_y)


def _pair(
    name: str, first: Sequence[float], second: Sequence[float], *, least: int, what: str = "genotypes"
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (n,), checked."""
    x, y = (np.asarray(values, dtype=float) for values in (first, second))
    if len(x) != len(y):
        raise StatisticsError(f"{name} compares number by number: {len(x)} against {len(y)}")
    if len(x) < least:
        raise StatisticsError(f"{name} needs {least} {what} or more, there are {len(x)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StatisticsError(f"{name} needs finite numbers, and some are not")
    return x, y


def _membership(values: np.ndarray, k: int) -> np.ndarray:
    """The probability of each to be among the ``k`` largest, equal ones in random order: (n,), summing to k."""
    bound = np.sort(values)[-k]
    above, equal = values > bound, values == bound
    return above + equal * (k - above.sum()) / equal.sum()


def _count(n: int, percent: float) -> int:
    """How many of ``n`` are ``percent`` of them, halves up."""
    return int(n * percent / 100 + 0.5)


def _least(percent: float) -> int:
    """The fewest genotypes of which ``percent`` round to one."""
    return next(n for n in range(1, 10**6) if _count(n, percent) >= 1)
