"""How many epochs fit into a budget, and where restarts come."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from studies.methods import EpochImages, epochs_within, first_period

POSITIVE = st.integers(1, 10_000)


@given(POSITIVE, POSITIVE, st.integers(0, 10_000), st.floats(0.01, 1e5), st.sampled_from([0, 0.25, 0.5]))
def test_as_many_epochs_as_fit_and_no_more(warm, full, fixed, budget, share):
    images = EpochImages(min(warm, full), full, fixed)

    def warmup(epochs: int) -> int:
        return int(share * epochs)

    epochs = epochs_within(budget, images, warmup)
    assert epochs == 0 or images.of(epochs, warmup(epochs)) <= budget
    assert images.of(epochs + 1, warmup(epochs + 1)) > budget


@given(st.integers(1, 2000), st.integers(1, 3))
def test_periods_of_the_learning_rate_end_with_the_last_epoch(epochs, growth):
    first = first_period(epochs, growth)
    ends = list(accumulate(first * growth**i for i in range(4)))
    assert epochs in ends
    if growth == 2 and epochs % 15 == 0:
        assert ends.index(epochs) == 3, "as many restarts as are published"


def test_the_published_restarts_come_out():
    assert first_period(150, 2) == 10
