"""How many epochs fit into a budget, and what a budget is."""

import argparse
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.method_plans import Budget, Cost, budget, epochs_within, first_period

POSITIVE = st.floats(0.01, 100)


@given(POSITIVE, POSITIVE, st.floats(0, 100), st.floats(0.01, 1000), st.sampled_from([0, 0.25, 0.5]))
def test_as_many_epochs_as_fit_and_no_more(warm, full, fixed, amount, share):
    cost = Cost(min(warm, full), full, fixed)

    def warmup(epochs: int) -> int:
        return int(share * epochs)

    epochs = epochs_within(amount, cost, warmup)
    assert epochs == 0 or cost.of(epochs, warmup(epochs)) <= amount
    assert cost.of(epochs + 1, warmup(epochs + 1)) > amount


@given(st.integers(1, 2000), st.integers(1, 3))
def test_periods_of_the_learning_rate_end_with_the_last_epoch(epochs, growth):
    first = first_period(epochs, growth)
    ends = list(accumulate(first * growth**i for i in range(4)))
    assert epochs in ends
    if growth == 2 and epochs % 15 == 0:
        assert ends.index(epochs) == 3, "as many restarts as are published"


def test_the_published_restarts_come_out():
    assert first_period(150, 2) == 10


def test_a_budget_is_seconds_or_images():
    assert budget("seconds=600") == Budget("seconds", 600)
    assert str(budget("images=2e6")) == "images=2e+06"
    for text in ("600", "epochs=3", "seconds=", "seconds=-1", "images=0", "images=inf", "seconds=nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="images=2e6"):
            budget(text)
