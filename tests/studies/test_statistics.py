"""The statistics of a ranking, against scipy on random numbers and against cases that are counted by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from studies.statistics import (
    StatisticsError,
    kendall_tau,
    paired,
    precisions,
    spearman_rho,
    true_ranks,
)

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
def test_correlations_are_those_of_counting_and_of_scipy(pairs):
    x, y = zip(*pairs, strict=True)
    tau, rho = (f(x, y, seed=0, resamples=20) for f in (kendall_tau, spearman_rho))
    assert tau.value == pytest.approx(tau_b(x, y))
    assert tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert rho.value == pytest.approx(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    for correlation in (tau, rho):
        assert -1 - 1e-9 <= correlation.low <= correlation.high <= 1 + 1e-9


@pytest.mark.parametrize(("ours", "theirs"), [(kendall_tau, stats.kendalltau), (spearman_rho, stats.spearmanr)])
def test_intervals_are_those_of_scipys_percentile_bootstrap(ours, theirs):
    generator = np.random.default_rng(1)
    x = generator.normal(size=40)
    y = x + generator.normal(size=40)
    interval = ours(x, y, seed=0)
    same = stats.bootstrap(
        (x, y),
        lambda a, b: theirs(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        random_state=np.random.default_rng(5),
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((same.low, same.high), abs=0.03)
    assert interval == ours(x, y, seed=0)
    assert interval != ours(x, y, seed=1)
    assert interval.low < interval.value < interval.high


def test_precision_counts_who_is_in_both_ends():
    true = list(range(20))
    scores = [*range(18), 0.5, 19]  # the second best is ranked low
    shares = precisions(true, scores)
    assert shares["top_5"] == 1
    assert shares["top_10"] == shares["bottom_10"] == 0.5
    assert shares["top_25"] == pytest.approx(4 / 5)
    assert precisions(true, [-s for s in true])["top_25"] == 0
    assert precisions(true, true) == {f"{side}_{p}": 1 for side in ("top", "bottom") for p in (5, 10, 25)}


@given(NUMBERS)
@settings(max_examples=30, deadline=None)
def test_precision_of_ties_is_the_expectation_over_their_orders(pairs):
    x, y = (np.array(side, dtype=float) for side in zip(*pairs * 4, strict=True))
    shares, generator = precisions(x, y), np.random.default_rng(0)
    for name, expected in shares.items():
        side, percent = name.split("_")
        k, sign, hits = math.floor(len(x) * int(percent) / 100 + 0.5), -1 if side == "top" else 1, []
        if k < 1:
            assert expected is None
            continue
        for _ in range(300):
            ends = [set(np.lexsort((generator.random(len(v)), sign * v))[:k]) for v in (x, y)]
            hits.append(len(ends[0] & ends[1]) / k)
        error = 5 * np.std(hits) / math.sqrt(300) + 1e-9
        assert expected == pytest.approx(np.mean(hits), abs=error + 0.02)


def test_a_score_that_says_nothing_has_the_precision_of_chance():
    assert precisions(range(20), [1] * 20)["top_25"] == pytest.approx(0.25)


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


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: kendall_tau([1, 2], [1, 2], seed=0), ["tau", "3", "2"]),
        (lambda: spearman_rho([], [], seed=0), ["rho", "3", "0"]),
        (lambda: kendall_tau([1, 2, 3], [1, 2, math.nan], seed=0), ["tau", "finite"]),
        (lambda: spearman_rho([1, 2, 3], [1, 2], seed=0), ["rho", "3", "2"]),
        (lambda: true_ranks([1, 2], [1, 2], 3), ["best 3", "2"]),
        (lambda: paired([1], [2]), ["paired", "2 pairs", "1"]),
    ],
)
def test_what_has_no_value_is_refused_in_one_line(use, words):
    with pytest.raises(ValueError) as error:
        use()
    assert isinstance(error.value, StatisticsError)
    assert "\n" not in str(error.value)
    assert [word for word in words if word not in str(error.value)] == []


def test_equal_numbers_have_no_correlation():
    assert kendall_tau([1, 1, 1], [1, 2, 3], seed=0) is None
    assert spearman_rho([1, 2, 3], [2, 2, 2], seed=0) is None


def test_precisions_say_none_where_there_are_too_few():
    assert precisions([1, 2, 3], [1, 2, 3]) == {
        **{f"{side}_{p}": None for side in ("top", "bottom") for p in (5, 10)},
        **{f"{side}_25": 1 for side in ("top", "bottom")},
    }
