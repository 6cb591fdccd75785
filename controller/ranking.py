"""Rank genotypes: turn what a policy draws into a list with the best first (docs/method.md, section 4.4)."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ops.genotype import Genotype

# What gives a genotype its score, higher is better: shared weights, a cost, a proxy without training.
Ranker = Callable[[Genotype], float]


class Ranked(NamedTuple):
    """A genotype and its score; that of shared weights is in percent."""

    genotype: Genotype
    score: float


def rank(candidates: Iterable[Genotype], score: Ranker, top_k: int) -> list[Ranked]:
    """Score the distinct candidates and return the ``top_k`` best, best first.

    Each is scored once. Equal scores are ordered by genotype, so the order of sampling does not matter; a
    score that is not finite ranks below all others.
    """
    scored = [Ranked(genotype, score(genotype)) for genotype in dict.fromkeys(candidates)]

    def key(ranked: Ranked) -> tuple[float, Genotype]:
        return (-ranked.score if math.isfinite(ranked.score) else math.inf), ranked.genotype

    return sorted(scored, key=key)[:top_k]


def mean_of_ranks(columns: Iterable[Sequence[float]]) -> list[float]:
    """Scores of the same candidates by several rankers as one: of the others, the percentage that ranks below.

    The mean over ``columns``, the scores by each ranker. Equal scores share the last of their ranks, and scores that
    are not finite the last of all.
    """
    below = []  # (rankers, candidates)
    for scores in columns:
        ordered = sorted(filter(math.isfinite, scores))
        missing = len(scores) - len(ordered)  # which every finite score ranks above
        below.append([missing + bisect_left(ordered, score) if math.isfinite(score) else 0 for score in scores])
    most = max(1, len(below[0]) - 1) * len(below)
    return [100 * sum(counts) / most for counts in zip(*below, strict=True)]  # whole numbers: equal means stay equal


def genotype_document(
    ranked: Sequence[Ranked], describe: Callable[[int, Genotype], Mapping[str, Any]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the content of genotypes.json, which ``ops.genotype.read_candidate`` reads.

    ``describe(rank, genotype)``: further facts on a candidate, its cost for one. ``facts``: on all of them.
    """
    candidates = [
        {"rank": rank, "cells": genotype.to_lists(), "score": score, **describe(rank, genotype)}
        for rank, (genotype, score) in enumerate(ranked)
    ]
    return {"format": "slnas-genotypes", "version": 1, **facts, "candidates": candidates}
