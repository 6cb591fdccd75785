"""How good a ranking is: Kendall's tau with an interval, true ranks, paired tests (docs/studies.md, section 16).

``true`` and ``scores`` are numbers of the same genotypes in the same order, higher is better: results of trainings from
scratch, and what a ranker gave. Fewer genotypes than a statistic needs, or numbers that are not finite, raise
StatisticsError.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from engine.agreement import checked_pair


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
    x, y = checked_pair(f"the true rank of the best {k}", true, scores, least=k)
    best = np.argsort(-y, kind="stable")[:k]  # stable: equal scores in the given order
    return [int((x > x[i]).sum()) for i in best]  # how many are truly better


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Whether ``first`` differs from ``second``, value by value: Student's paired t-test, and Wilcoxon's signed ranks.

    Without any difference both p are 1.
    """
    x, y = checked_pair("a paired test", first, second, least=2, what="pairs")
    differences = x - y
    if not differences.any():
        return Paired(len(x), 0.0, 0.0, 1.0, 1.0)
    with warnings.catch_warnings():  # where all differ by the same: then p is 0
        warnings.simplefilter("ignore")
        t_p = float(stats.ttest_rel(x, y).pvalue)
    wilcoxon_p = float(stats.wilcoxon(differences).pvalue)
    return Paired(len(x), float(differences.mean()), float(differences.std(ddof=1)), t_p, wilcoxon_p)
