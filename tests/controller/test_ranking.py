import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ranking import mean_of_ranks, rank
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


SCORES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan, math.inf]), min_size=2, max_size=6)


@given(SCORES)
def test_one_ranker_orders_by_itself_with_equal_scores_at_the_last_of_their_ranks(scores):
    [*shares] = mean_of_ranks([scores])
    for share, score in zip(shares, scores, strict=True):
        below = [other for other in scores if not math.isfinite(other) or other < score]
        expected = 100 * len(below) / (len(scores) - 1) if math.isfinite(score) else 0
        assert share == pytest.approx(expected)


@given(st.lists(st.permutations([1.0, 2.0, 3.0, 4.0, 5.0]), min_size=1, max_size=4))
def test_the_mean_of_ranks_does_not_depend_on_scales_or_on_the_order_of_rankers(columns):
    stretched = [[math.exp(score) for score in column] for column in columns]
    assert mean_of_ranks(columns) == pytest.approx(mean_of_ranks(stretched[::-1]))
    means = [sum(column) / len(columns) for column in zip(*columns, strict=True)]
    assert mean_of_ranks(columns) == pytest.approx([25 * (mean - 1) for mean in means])
