"""The average of weights, against a computation by hand, and the warm-up of the learning rate beside it."""

import math

import pytest
import torch
from torch import nn

from engine.averaging import WeightAverage
from engine.schedule import Schedule
from tests.genes import stored


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def steps(model: nn.Module, count: int, seed: int = 0):
    """Let weights and statistics move as training would move them."""
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(count):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape, generator=generator)
            model(torch.randn(5, 3, 4, 4, generator=generator))
        yield


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_is_that_of_a_computation_by_hand(decay):
    model = network()
    average = WeightAverage(model, decay)
    expected = [p.detach().double() for p in model.parameters()]
    for update, _ in enumerate(steps(model, 12), 1):
        d = min(decay, (1 + update) / (10 + update))
        expected = [
            d * old + (1 - d) * p.detach().double() for old, p in zip(expected, model.parameters(), strict=True)
        ]
        average.update()
        for mine, other in zip(average.network.parameters(), expected, strict=True):
            torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-5)


def test_statistics_are_copied_when_they_are_asked_for_and_the_original_stays_as_it_is():
    model = network()
    average = WeightAverage(model, 0.9)
    for _ in steps(model, 3):
        average.update()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert torch.equal(average.network[1].running_mean, torch.zeros(4))
    average.take_statistics()
    assert torch.equal(average.network[1].running_mean, model[1].running_mean)
    assert average.network[1].num_batches_tracked == 3
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_a_saved_average_goes_on_exactly():
    model = network()
    average = WeightAverage(model, 0.9)
    for _ in steps(model, 5):
        average.update()
    state = stored({"average": average.state_dict(), "model": model.state_dict()})
    other = network(seed=1)
    other.load_state_dict(state["model"])
    restored = WeightAverage(other, 0.9)
    restored.load_state_dict(state["average"])
    for _ in zip(steps(model, 4, seed=2), steps(other, 4, seed=2), strict=True):
        average.update()
        restored.update()
    for mine, theirs in zip(restored.network.parameters(), average.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("warmup", [0, 1, 5])
@pytest.mark.parametrize("kind", ["cosine", "cosine_restarts"])
def test_the_warm_up_rises_in_a_line_to_the_curve_and_then_follows_it(warmup, kind):
    plain, warm = (Schedule(kind, 20, 0.4, 0.1, 4, 2, warmup=w) for w in (0, warmup))
    for epoch in range(20):
        share = (epoch + 1) / (warmup + 1) if epoch < warmup else 1
        assert warm.lr(epoch) == pytest.approx(share * plain.lr(epoch)), epoch
    if kind == "cosine" and warmup == 5:
        assert warm.lr(2) == pytest.approx(0.5 * (0.1 + 0.15 * (1 + math.cos(math.pi * 2 / 20))))
