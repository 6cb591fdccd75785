import math
import random

from hypothesis import given
from hypothesis import strategies as st

from controller.ranking import rank
from ops.genotype import Genotype

GENOTYPES = [Genotype((tuple([0, op] * 10),) * 2) for op in range(5)]


@given(
    st.lists(st.sampled_from([10.0, 20.0, 30.0, math.nan, math.inf, -math.inf]), min_size=5, max_size=5), st.randoms()
)
def test_ranking_is_by_score_whatever_the_order_of_sampling(scores, rng: random.Random):
    table = dict(zip(GENOTYPES, scores, strict=True))
    ranked = rank(GENOTYPES, table.__getitem__, 5)
    shuffled = GENOTYPES * 2
    rng.shuffle(shuffled)
    assert [r.genotype for r in rank(shuffled, table.__getitem__, 5)] == [r.genotype for r in ranked]
    numbers = [r.score for r in ranked if math.isfinite(r.score)]
    assert numbers == sorted(numbers, reverse=True)
    assert not any(math.isfinite(r.score) for r in ranked[len(numbers) :])


def test_each_distinct_candidate_is_scored_once_and_the_best_are_kept():
    calls = []

    def score(genotype):
        calls.append(genotype)
        return float(genotype.cells[0][1])

    ranked = rank(GENOTYPES * 3, score, 2)
    assert len(calls) == len(set(calls)) == 5
    assert [r.score for r in ranked] == [4.0, 3.0]
