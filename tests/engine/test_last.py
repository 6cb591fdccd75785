"""The mean of the last epochs' weights, which ranking borrows."""

import pytest
import torch
from torch import nn

from engine.last import LastWeights
from utils.system.checkpoint import CheckpointError


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@torch.no_grad()
def moved(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Give a network other weights, and return them."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        value += torch.randint(1, 5, value.shape, generator=generator)
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_body_sees_the_mean_of_the_last_and_afterwards_all_is_as_before():
    network = model()
    last = LastWeights(network, 3)
    kept = []
    for seed in range(5):
        kept.append(moved(network, seed))
        last.take()
    with last.averaged():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, sum(weights[name] for weights in kept[-3:]) / 3)
            else:
                assert torch.equal(value, kept[-1][name]), "a count is no mean"
    assert all(torch.equal(value, kept[-1][name]) for name, value in network.state_dict().items())


def test_a_run_that_goes_on_keeps_the_same_as_one_that_was_not_interrupted():
    network, twin = model(), model()
    last = LastWeights(network, 2)
    for seed in range(2):
        moved(network, seed)
        last.take()
    own = moved(twin, 9)
    again = LastWeights(twin, 2)
    again.load_state_dict(last.state_dict())
    assert all(torch.equal(value, own[name]) for name, value in twin.state_dict().items())
    with last.averaged(), again.averaged():
        assert all(torch.equal(value, twin.state_dict()[name]) for name, value in network.state_dict().items())


def test_weights_of_another_network_are_refused():
    other = LastWeights(nn.Linear(4, 4), 2)
    other.take()
    with pytest.raises(CheckpointError, match="the weights of the last epochs"):
        LastWeights(model(), 2).load_state_dict(other.state_dict())


def test_nothing_is_borrowed_before_two_epochs_are_kept():
    network = model()
    own = moved(network, 1)
    last = LastWeights(network, 3)
    last.take()
    moved(network, 2)
    now = {name: value.clone() for name, value in network.state_dict().items()}
    with last.averaged():
        assert all(torch.equal(value, now[name]) for name, value in network.state_dict().items())
    assert any(not torch.equal(own[name], now[name]) for name in own)
