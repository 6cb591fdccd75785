"""The statistics of a ranking, against scipy on random numbers and against cases that are counted by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from studies.statistics import kendall_tau, median, paired, true_ranks

NUMBERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30).filter(
    lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))
)


def tau_b(x, y):
    """Kendall's tau-b by counting pairs."""
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in itertools.combinations(range(len(x)), 2)]
    agree = sum(a * b for a, b in signs)
    return agree / math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


@given(NUMBERS)
@settings(max_examples=40, deadline=None)
def test_tau_is_that_of_counting_and_of_scipy(pairs):
    x, y = zip(*pairs, strict=True)
    tau = kendall_tau(x, y, seed=0, resamples=20)
    assert tau.value == pytest.approx(tau_b(x, y))
    assert tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert -1 - 1e-9 <= tau.low <= tau.high <= 1 + 1e-9


def test_intervals_are_those_of_scipys_percentile_bootstrap():
    generator = np.random.default_rng(1)
    x = generator.normal(size=40)
    y = x + generator.normal(size=40)
    interval = kendall_tau(x, y, seed=0)
    same = stats.bootstrap(
        (x, y),
        lambda a, b: stats.kendalltau(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        random_state=np.random.default_rng(5),
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((same.low, same.high), abs=0.03)
    assert interval == kendall_tau(x, y, seed=0)
    assert interval != kendall_tau(x, y, seed=1)
    assert interval.low < interval.value < interval.high


def test_true_ranks_of_the_best_by_score():
    assert true_ranks([50, 70, 60, 70, 40], [5, 1, 4, 3, 2], 3) == [3, 2, 0]
    assert true_ranks([1, 2, 3], [1, 2, 3], 3) == [0, 1, 2]


@given(st.lists(st.tuples(*[st.floats(-100, 100, allow_subnormal=False)] * 2), min_size=2, max_size=20))
@settings(max_examples=40, deadline=None)
def test_paired_tests_are_scipys_of_the_differences(pairs):
    x, y = map(np.array, zip(*pairs, strict=True))
    test, differences = paired(x, y), np.array(x) - np.array(y)
    assert (test.pairs, test.mean) == (len(x), pytest.approx(differences.mean()))
    if differences.any():
        assert test.wilcoxon_p == pytest.approx(stats.wilcoxon(x, y).pvalue)
        if test.std > 1e-6:
            assert test.std == pytest.approx(np.std(differences, ddof=1))
            assert test.t_p == pytest.approx(stats.ttest_rel(x, y).pvalue, abs=1e-12)
    else:
        assert (test.t_p, test.wilcoxon_p) == (1, 1)


def test_five_wins_of_five_are_not_enough_for_wilcoxon():
    assert paired([2, 4, 6, 8, 11], [1, 2, 3, 4, 5]).wilcoxon_p == pytest.approx(2 / 2**5)


def test_equal_numbers_have_no_correlation():
    assert kendall_tau([1, 1, 1], [1, 2, 3], seed=0) is None
    assert kendall_tau([1, 2, 3], [2, 2, 2], seed=0) is None


def test_the_median_is_in_the_middle_and_of_two_the_worse():
    assert median([3, 1, 2], float) == 2
    assert median([4, 2], float) == 2
    assert median([1, 2, 3, 4], lambda value: -value) == 3
