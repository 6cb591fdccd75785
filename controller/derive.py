"""Derive: turn a policy into a ranked list of genotypes (METHOD section 6: the search must have a result)."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ops.genotype import Genotype


class Ranked(NamedTuple):
    """A genotype and its score in percent."""

    genotype: Genotype
    score: float


def derive(candidates: Iterable[Genotype], score: Callable[[Genotype], float], top_k: int) -> list[Ranked]:
    """The ``top_k`` best of the distinct candidates, best first.

    Each is scored once. Equal scores are ordered by genotype, so the order of sampling does not matter; a
    score that is not a number ranks below every number.
    """
    scored = [Ranked(genotype, score(genotype)) for genotype in dict.fromkeys(candidates)]

    def key(ranked: Ranked) -> tuple[float, Genotype]:
        return (math.inf if math.isnan(ranked.score) else -ranked.score), ranked.genotype

    return sorted(scored, key=key)[:top_k]
