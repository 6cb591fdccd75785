"""How good a ranking is: Kendall's tau with an interval, true ranks, paired tests (docs/studies.md, section 16).

``true`` and ``scores`` are numbers of the same genotypes in the same order, higher is better: results of trainings from
scratch, and what a ranker gave; all of them finite.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 95  # percent that an interval covers

Item = TypeVar("Item")


class Correlation(NamedTuple):
    """Kendall's tau in [-1, 1] and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def kendall_tau(
    true: Sequence[float], scores: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Correlation | None:
    """Kendall's tau-b, in which ties count for neither side, with a percentile bootstrap interval over genotypes.

    None where all of one side are equal, so that there is nothing to rank. Draws of which that holds are left out.
    """
    x, y = np.asarray(true, dtype=float), np.asarray(scores, dtype=float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # the cosine would be 0 / 0
        return None

    def tau(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = _signs(x), _signs(y)  # (draws, n * n); tau-b is the cosine between them
        with np.errstate(invalid="ignore"):
            return (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))

    # scipy's own tau takes one draw at a time, which is a second for every interval.
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": resamples, "batch": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws without a correlation
        bootstrap = stats.bootstrap((x, y), tau, random_state=np.random.default_rng(seed), **options)
    # Draws without a correlation are nan.
    low, high = np.nanpercentile(bootstrap.bootstrap_distribution, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Correlation(float(tau(x, y)), float(low), float(high))


def _signs(x: np.ndarray) -> np.ndarray:
    """The order of all pairs: (..., n) to (..., n * n)."""
    return np.sign(x[..., :, None] - x[..., None, :]).reshape(*x.shape[:-1], -1)


class Paired(NamedTuple):
    """A paired comparison: mean of the differences, their std, and two-sided p of a t-test and of Wilcoxon's test."""

    pairs: int
    mean: float
    std: float
    t_p: float
    wilcoxon_p: float


def true_ranks(true: Sequence[float], scores: Sequence[float], k: int) -> list[int]:
    """The true ranks of the best ``k`` by score, best score first; 0 is the best there is.

    Equal true values share the better rank; equal scores come in the given order.
    """
    x, y = np.asarray(true), np.asarray(scores)
    best = np.argsort(-y, kind="stable")[:k]  # stable: equal scores in the given order
    return [int((x > x[i]).sum()) for i in best]  # how many are truly better


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Whether ``first`` differs from ``second``, value by value: Student's paired t-test, and Wilcoxon's signed ranks.

    Without any difference both p are 1.
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if not differences.any():
        return Paired(len(differences), 0.0, 0.0, 1.0, 1.0)
    with warnings.catch_warnings():  # where all differ by the same: then p is 0
        warnings.simplefilter("ignore")
        t_p = float(stats.ttest_1samp(differences, 0).pvalue)
    wilcoxon_p = float(stats.wilcoxon(differences).pvalue)
    return Paired(len(differences), float(differences.mean()), float(differences.std(ddof=1)), t_p, wilcoxon_p)


def median(items: Iterable[Item], key: Callable[[Item], float]) -> Item:
    """The item in the middle; of an even number the worse of the two in the middle."""
    ordered = sorted(items, key=key)
    return ordered[(len(ordered) - 1) // 2]
