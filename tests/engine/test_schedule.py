import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.schedule import Schedule, cosine, drop_path_ramp


@given(st.integers(1, 700), st.floats(1e-6, 10), st.floats(0, 1))
def test_cosine_starts_at_the_highest_rate_falls_and_ends_near_the_lowest(epochs, highest, share):
    lowest = share * highest
    schedule = Schedule("cosine", epochs, highest, lowest, 10, 2)
    rates = [schedule.lr(epoch) for epoch in range(epochs)]
    assert rates[0] == pytest.approx(highest)
    assert rates == sorted(rates, reverse=True)
    assert all(lowest <= rate <= highest * (1 + 1e-12) for rate in rates)
    last = lowest + (highest - lowest) * math.sin(math.pi / (2 * epochs)) ** 2
    assert rates[-1] == pytest.approx(last)
    assert schedule.lr(epochs) == pytest.approx(lowest)


@given(st.integers(2, 50), st.integers(1, 40), st.integers(0, 5))
def test_by_step_the_rate_rises_in_a_line_and_follows_the_cosine_between_the_epochs(epochs, steps, warmup):
    by_epoch = Schedule("cosine", epochs, 0.1, 0.001, 10, 2)
    schedule = replace(by_epoch, warmup=warmup, by_step=True)
    rates = [schedule.lr(epoch, step, steps) for epoch in range(epochs) for step in range(steps)]
    rise = [min(1, (i + 1) / (warmup * steps + 1)) for i in range(len(rates))]
    for i, rate in enumerate(rates):
        assert rate == pytest.approx(rise[i] * cosine(i / steps, epochs, 0.1, 0.001))
    assert by_epoch.lr(1, steps - 1, steps) == by_epoch.lr(1), "by epoch every step has the same"
    if steps == 1:
        assert rates == pytest.approx([replace(by_epoch, warmup=warmup).lr(epoch) for epoch in range(epochs)])


@pytest.mark.parametrize("epochs", [1, 2, 5, 150])
def test_cosine_is_what_torch_computes(epochs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.025)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=0.001)
    for epoch in range(epochs):
        assert cosine(epoch, epochs, 0.025, 0.001) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("period", "growth"), [(1, 1), (1, 2), (10, 1), (10, 2), (3, 3)])
def test_restarts_are_what_torch_computes(period, growth):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.025)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period, growth, eta_min=0.001)
    schedule = Schedule("cosine_restarts", 100, 0.025, 0.001, period, growth)
    for epoch in range(100):
        assert schedule.lr(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), epoch
        optimizer.step()
        theirs.step()


def test_restarts_come_after_one_and_then_twice_the_period():
    schedule = Schedule("cosine_restarts", 70, 1.0, 0.0, 10, 2)
    rates = [schedule.lr(epoch) for epoch in range(70)]
    assert [epoch for epoch in range(70) if rates[epoch] == 1] == [0, 10, 30]
    assert [epoch for epoch in range(1, 70) if rates[epoch] > rates[epoch - 1]] == [10, 30]


@given(st.integers(1, 700), st.floats(0, 0.99), st.floats(0.01, 1))
def test_drop_path_climbs_in_a_line_and_then_stays(epochs, highest, until):
    ramp = [drop_path_ramp(epoch, epochs, highest, until) for epoch in range(epochs)]
    assert ramp[0] == 0
    assert ramp == sorted(ramp)
    for epoch, value in enumerate(ramp):
        assert value == pytest.approx(highest * min(epoch / epochs, until))


def test_published_drop_path():
    assert [drop_path_ramp(e, 10, 0.35) for e in (0, 5, 9)] == pytest.approx([0, 0.175, 0.315])
    assert [drop_path_ramp(e, 10, 0.35, 0.7) for e in (0, 5, 7, 9)] == pytest.approx([0, 0.175, 0.245, 0.245])
