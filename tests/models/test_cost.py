"""Costs that are summed over parts, against the network that they speak of."""

import random

import pytest
import torch
from torch import nn

from controller.sampling import uniform
from models.cost import network_cost
from models.deployment import Deployment
from models.network import Network
from models.parts import Cost, count_macs
from models.spec import NetworkSpec
from models.staged import STEMS
from models.structures import STRUCTURES
from ops.genotype import SHARINGS, Genotype, num_cells
from ops.primitives import ANTIALIAS
from ops.space import SLNAS, SPACES

BLOCKS = [(0,), (1,), (2, 0), (1, 1), (0, 1, 1)]
SIZES = [16, 29, 32, 33, 35, 37, 46, 51, 64, 75]


def same_cost(genotype, blocks, filters, classes, stem, antialias, size) -> None:
    spec = NetworkSpec(blocks, filters, classes, stem, antialias)
    found, network = network_cost(genotype, spec, size), Network.of(genotype, spec)
    assert found.parameters == network.num_parameters - network.num_aux_parameters
    assert found.macs == network.macs(size)


@pytest.mark.parametrize("stem", sorted(set(STEMS)))
@pytest.mark.parametrize(("sharing", "antialias"), [*zip(SHARINGS, [*ANTIALIAS, "conv"], strict=True)])
def test_the_sum_over_parts_is_the_cost_of_the_network(sharing, stem, antialias):
    rng = random.Random(f"{sharing}{stem}{antialias}")
    generator = torch.Generator().manual_seed(rng.randrange(10**6))
    blocks = rng.choice(BLOCKS)
    size = rng.choice([size for size in SIZES if NetworkSpec(blocks, 2, 2, stem).smallest_map(size) >= 1])
    (genotype,) = uniform(1, num_cells(sharing, blocks), sharing, generator)
    same_cost(genotype, blocks, rng.choice([2, 4, 6]), rng.choice([2, 10]), stem, antialias, size)


@pytest.mark.parametrize("op", range(len(SLNAS.operations)), ids=SLNAS.operations)
def test_every_operation_alone_at_an_odd_size(op):
    genotype = Genotype.from_lists([[0, op, 1, op] * 5] * 2)
    same_cost(genotype, (1, 1), 4, 3, "full", "conv", 21)


def test_multiply_accumulates_of_layers_that_can_be_counted_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 5, padding=2, groups=8))
    by_hand = 8 * 5 * 5 * (3 * 9) + 8 * 5 * 5 * 25
    assert count_macs(network, torch.zeros(1, 3, 9, 9)) == by_hand
    assert count_macs(nn.Linear(7, 4, bias=False), torch.zeros(3, 7)) == 3 * 28
    assert not any(layer._forward_hooks for layer in network.modules()), "hooks are taken off again"


def test_a_deployment_states_the_cost_of_its_network():
    deployment = Deployment(NetworkSpec((1, 1), 6, 10, "quarter", "all"), "type", 33)
    (genotype,) = uniform(1, 2, "type", torch.Generator().manual_seed(1))
    network = deployment.network(genotype)
    assert deployment.cost(genotype).parameters == network.num_parameters - network.num_aux_parameters
    assert deployment.cost(genotype).macs == network.macs(33)
    assert network.num_aux_parameters > 0
    assert deployment.facts()["blocks"] == [1, 1]


STACKED = [name for name in STRUCTURES if SPACES[name].stacked]


@pytest.mark.parametrize(("stem", "size"), [("plain", 27), ("imagenet", 97)])
@pytest.mark.parametrize("name", STACKED)
def test_the_sum_over_parts_is_the_cost_of_a_network_that_stacks_cells(name, stem, size):
    space, rng = SPACES[name], random.Random(0)
    cells = [tuple(rng.randrange(space.options(p)) for p in range(space.length)) for _ in range(2)]
    cells[1] = tuple(max(1, state) if p % 2 == 0 else state for p, state in enumerate(cells[1]))  # input 0 is unread
    genotype, spec = Genotype(tuple(cells), space=name), NetworkSpec((2,), 8, 10, stem, space=name, aux=False)
    with torch.device("meta"):
        network = Network.of(genotype, spec)
    assert network_cost(genotype, spec, size) == Cost(network.num_parameters, network.macs(size))
