"""The cost of a network that stacks cells, summed over its parts, is that of the network that is built."""

import random

import pytest
import torch

from models.cost import network_cost
from models.network import Network
from models.parts import Cost
from models.spec import NetworkSpec
from models.structures import STRUCTURES
from ops.genotype import Genotype
from ops.space import SPACES

STACKED = [name for name in STRUCTURES if SPACES[name].stacked]


@pytest.mark.parametrize(("stem", "size"), [("plain", 27), ("imagenet", 97)])
@pytest.mark.parametrize("name", STACKED)
def test_the_sum_over_parts_is_the_cost_of_the_network(name, stem, size):
    space, rng = SPACES[name], random.Random(0)
    cells = [tuple(rng.randrange(space.options(p)) for p in range(space.length)) for _ in range(2)]
    cells[1] = tuple(max(1, state) if p % 2 == 0 else state for p, state in enumerate(cells[1]))  # input 0 is unread
    genotype, spec = Genotype(tuple(cells), space=name), NetworkSpec((2,), 8, 10, stem, space=name, aux=False)
    with torch.device("meta"):
        network = Network.of(genotype, spec)
    assert network_cost(genotype, spec, size) == Cost(network.num_parameters, network.macs(size))
