"""A folded network gives what the network gives, with fewer norms."""

import pytest
import torch
from torch import nn

from controller.sampling import uniform
from models.folding import folded
from models.network import Network
from ops.genotype import Genotype, num_cells
from ops.primitives import ANTIALIAS, PooledConv
from ops.space import SLNAS


def lived_in(network: nn.Module) -> nn.Module:
    """Norms as training leaves them: statistics, scales and shifts that are not 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(generator=generator)
    return network.double()


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def difference(network: nn.Module, side: int = 16) -> float:
    images = torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, (found, aux) = network.eval()(images), folded(network)(images)
    outputs = [(wanted[0], found), *zip(wanted[1], aux, strict=True)]
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in outputs)


@pytest.mark.parametrize("antialias", ANTIALIAS)
@pytest.mark.parametrize("stem", ["full", "quarter", "quarter_blur"])
def test_a_folded_network_gives_the_same(antialias, stem):
    generator = torch.Generator().manual_seed(len(stem + antialias))
    (genotype,) = uniform(1, num_cells("type", (1, 1)), "type", generator)
    network = lived_in(Network(genotype, (1, 1), 4, 3, stem=stem, antialias=antialias))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert difference(network, 32) < 1e-12
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items()), "left as it was"
    twin, made, left = folded(network), [], []
    assert len(norms(twin)) == len(network.blocks), "those behind the nodes of a cell alone stay"
    for layer in twin.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _given, output: made.append(output))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _layer, given: left.append(given[0]))
    twin(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    assert not any(given is output for given in left for output in made), "none is right behind a convolution"


@pytest.mark.parametrize("op", range(len(SLNAS.operations)), ids=SLNAS.operations)
def test_every_operation_folds_exactly(op):
    network = lived_in(Network(Genotype.from_lists([[0, op, 1, op] * 5] * 2), (1,), 4, 3))
    assert difference(network) < 1e-12


def test_a_norm_behind_a_maximum_stays_where_a_scale_is_negative():
    pool = lived_in(PooledConv("max", 4, 4, 1, "none")).eval()
    images = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    assert not norms(folded(nn.Sequential(pool)))
    with torch.no_grad():
        pool.bn.weight[2] = -1
    twin = folded(nn.Sequential(pool))
    assert norms(twin)
    assert torch.equal(twin(images), pool(images))


def test_norms_of_the_batch_stay():
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    assert len(norms(folded(layers))) == 1
