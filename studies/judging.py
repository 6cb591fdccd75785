"""What a study says of stand-alone results, their noise, and a ranking of them (docs/method.md, section 17).

``alone``: for each genotype the results of every seed, higher is better.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from studies.statistics import StatisticsError, kendall_tau, precisions, spearman_rho, true_ranks
from utils.system.errors import UsageError

BEST = 5  # by score, whose true ranks are given


def require_enough(genotypes: int) -> None:
    """Refuse fewer genotypes than true ranks are given of. Raises UsageError."""
    if genotypes < BEST:
        raise UsageError(f"--genotypes {genotypes}: the statistics of a ranking need {BEST} or more")


def means(alone: Sequence[Sequence[float]]) -> list[float]:
    """The mean over seeds of each genotype."""
    return [statistics.fmean(row) for row in alone]


def spread(alone: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """How much genotypes differ, by their means over seeds, and ``noise``: the std between seeds of one genotype."""
    values = means(alone)
    several = len(alone[0]) > 1
    noise = math.sqrt(statistics.fmean(statistics.variance(row) for row in alone)) if several else None
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values),
        "lowest": min(values),
        "highest": max(values),
        "noise": noise,
    }


def noise_floor(alone: Sequence[Sequence[float]], seed: int) -> dict[str, Any] | None:
    """How well one seed ranks as another does, and what that says of the mean over all seeds; None for one seed.

    ``tau``: mean over pairs of seeds, and ``taus``: each with its interval. ``reliability``: of the mean over k seeds
    by Spearman-Brown, k r / (1 + (k - 1) r), r being the mean of Pearson's correlation over pairs of seeds, which is
    what that formula is about. ``ceiling``: the tau that a perfect ranker could expect against these means if values
    and noise were normal, 2/pi arcsin(sqrt(reliability)).
    """
    seeds = len(alone[0])
    if seeds < 2:
        return None
    columns = list(zip(*alone, strict=True))
    taus = [or_none(kendall_tau, a, b, seed=seed) for a, b in combinations(columns, 2)]
    if None in taus:
        return None
    r = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(columns, 2)]))
    reliability = seeds * r / (1 + (seeds - 1) * r) if r > 0 else None
    ceiling = None if reliability is None else 2 / math.pi * math.asin(math.sqrt(min(reliability, 1.0)))
    return {
        "tau": statistics.fmean(tau.value for tau in taus),
        "taus": taus,
        "r": r,
        "reliability": reliability,
        "ceiling": ceiling,
    }


def agreement(alone: Sequence[Sequence[float]], scores: Sequence[float], seed: int) -> dict[str, Any]:
    """How a ranking agrees with the means over seeds; None for what equal numbers do not have."""
    true = means(alone)
    return {
        "tau": or_none(kendall_tau, true, scores, seed=seed),
        "rho": or_none(spearman_rho, true, scores, seed=seed),
        **precisions(true, scores),
        "true_ranks": true_ranks(true, scores, BEST),
    }


def between(scores: Sequence[Sequence[float]]) -> float | None:
    """How alike several rankings of the same genotypes are: the mean tau over their pairs; None for a single one."""
    taus = [stats.kendalltau(a, b).statistic for a, b in combinations(scores, 2)]
    return statistics.fmean(map(float, taus)) if taus else None


def or_none(statistic: Callable[..., Any], *numbers: Sequence[float], seed: int) -> Any:
    """A correlation; None where one side has equal numbers only, so that there is nothing to rank."""
    try:
        return statistic(*numbers, seed=seed)
    except StatisticsError:
        return None
