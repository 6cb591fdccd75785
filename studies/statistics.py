"""How well a ranking is: correlations with intervals, both ends, paired tests (docs/studies.md, section 16).

``true`` and ``scores`` are numbers of the same genotypes in the same order, higher is better: results of trainings from
scratch, and what a ranker gave. Fewer genotypes than a statistic needs, or numbers that are not finite, raise
StatisticsError.
"""

from __future__ import annotations

import warnings
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
) -> Correlation | None:
    """Kendall's tau-b, in which ties count for neither side, with a percentile bootstrap interval; None where all of
    one side are equal, so that there is nothing to rank."""
    return _correlation("Kendall's tau", _signs, true, scores, seed, resamples)


def spearman_rho(
    true: Sequence[float], scores: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Correlation | None:
    """Spearman's rho, with mean ranks for ties and a percentile bootstrap interval; None as above."""
    return _correlation("Spearman's rho", _ranks, true, scores, seed, resamples)


def precisions(true: Sequence[float], scores: Sequence[float]) -> dict[str, float | None]:
    """The share of the best 5, 10 and 25 % by score that are among the truly best, in [0, 1], and of the worst.

    How many that are is rounded to a whole number, halves up; None for less than one. Equal numbers give the share
    that is expected of a random order among them.
    """
    x, y = _pair("precision", true, scores, least=1)
    shares: dict[str, float | None] = {}
    for side, sign in (("top", 1), ("bottom", -1)):
        for percent in SHARES:
            k = int(len(x) * percent / 100 + 0.5)  # not round(), which takes halves to even numbers
            # Of tied numbers each is in with a probability, so the overlap is an expectation.
            both = _membership(sign * x, k) * _membership(sign * y, k) if k else None
            shares[f"{side}_{percent}"] = None if both is None else float(both.sum() / k)
    return shares


def true_ranks(true: Sequence[float], scores: Sequence[float], k: int) -> list[int]:
    """The true ranks of the best ``k`` by score, best score first; 0 is the best there is.

    Equal true values share the better rank; equal scores come in the given order.
    """
    x, y = _pair(f"the true rank of the best {k}", true, scores, least=k)
    best = np.argsort(-y, kind="stable")[:k]  # stable: equal scores in the given order
    return [int((x > x[i]).sum()) for i in best]  # how many are truly better


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Whether ``first`` differs from ``second``, value by value: Student's paired t-test, and Wilcoxon's signed ranks.

    Without any difference both p are 1.
    """
    x, y = _pair("a paired test", first, second, least=2, what="pairs")
    differences = x - y
    if not differences.any():
        return Paired(len(x), 0.0, 0.0, 1.0, 1.0)
    with warnings.catch_warnings():  # where all differ by the same: then p is 0
        warnings.simplefilter("ignore")
        t_p = float(stats.ttest_rel(x, y).pvalue)
    wilcoxon_p = float(stats.wilcoxon(differences).pvalue)
    return Paired(len(x), float(differences.mean()), float(differences.std(ddof=1)), t_p, wilcoxon_p)


def _correlation(
    name: str,
    features: Callable[[np.ndarray], np.ndarray],
    true: Sequence[float],
    scores: Sequence[float],
    seed: int,
    resamples: int,
) -> Correlation | None:
    """The cosine between the ``features`` of both sides, and percentiles of the same over genotypes that are drawn
    with replacement. A draw in which all of one side are equal has no correlation, and is left out.
    """
    x, y = _pair(name, true, scores, least=3)
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # the cosine would be 0 / 0
        return None

    def cosine(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = features(x), features(y)  # (draws, features)
        with np.errstate(invalid="ignore"):
            return (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))

    # scipy's own correlations take one draw at a time, which is a second for every interval.
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": resamples, "batch": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws without a correlation
        bootstrap = stats.bootstrap((x, y), cosine, random_state=np.random.default_rng(seed), **options)
    # Draws without a correlation are nan.
    low, high = np.nanpercentile(bootstrap.bootstrap_distribution, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Correlation(float(cosine(x, y)), float(low), float(high))


def _signs(x: np.ndarray) -> np.ndarray:
    """The order of all pairs: (..., n) to (..., n * n). The cosine between two of these is Kendall's tau-b."""
    return np.sign(x[..., :, None] - x[..., None, :]).reshape(*x.shape[:-1], -1)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks less their mean: (..., n) to (..., n). The cosine between two of these is Spearman's rho."""
    return stats.rankdata(x, axis=-1) - (x.shape[-1] + 1) / 2


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
    bound = np.sort(values)[-k]  # whoever has this value competes for the places that are left
    above, equal = values > bound, values == bound
    # Those above are in for certain, those below are out: (n,).
    return above + equal * (k - above.sum()) / equal.sum()
