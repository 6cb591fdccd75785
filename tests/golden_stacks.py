"""Fill networks of the DARTS space with the golden weights: every parameter is drawn from a hash of its name."""

from collections.abc import Iterator

import torch
from torch import nn

from controller.relaxation import SoftGenotype
from models.network import Backbone
from models.stack import ChosenCell
from ops.space import DARTS
from tests.golden_weights import draw

EDGES = DARTS.nodes * (DARTS.nodes + 3) // 2  # of a cell: node n reads n + 2 states


def mixture(normal: torch.Tensor, reduction: torch.Tensor) -> SoftGenotype:
    """What runs the mixture of all operations by these tables, (14, 8) each."""
    return SoftGenotype((normal, reduction).__getitem__, "type")


def counted(module: nn.Module) -> Iterator[tuple[int, nn.Module]]:
    """The convolutions, batch norms and linear maps below, numbered in the order in which they run."""
    kinds = nn.Conv2d | nn.BatchNorm2d | nn.Linear
    return enumerate(layer for layer in module.modules() if isinstance(layer, kinds))


def parts(network: Backbone, genotype) -> Iterator[tuple[str, nn.Module]]:
    """(prefix of keys, the part whose layers it numbers)."""
    yield "stem", network.stems
    for i, cell in enumerate(network.blocks):
        yield f"cells.{i}.pre0", cell.pre0
        yield f"cells.{i}.pre1", cell.pre1
        if isinstance(cell, ChosenCell):
            encoding = genotype.cell(cell.plan.stage, i, cell.plan.is_reduction)
            for n, pair in enumerate(cell.ops):
                for side, operation in enumerate(pair):
                    name = DARTS.known[encoding[4 * n + 2 * side + 1]]
                    yield f"cells.{i}.ops.{n}.{side}.{name}", operation
        else:
            for n, inputs in enumerate(cell.edges):
                for state, operations in enumerate(inputs):
                    for name, operation in operations.items():
                        yield f"cells.{i}.edges.{n}.{state}.{name}", operation
    for head in network.aux_heads:
        yield "aux", head


@torch.no_grad()
def fill(network: Backbone, genotype=None) -> dict[str, nn.Parameter]:
    """Set every parameter; returns them by key. All must be reached exactly once."""
    layers = {f"{prefix}.{j}": layer for prefix, part in parts(network, genotype) for j, layer in counted(part)}
    layers["head"] = network.head
    named = {f"{key}.{leaf}": p for key, layer in layers.items() for leaf, p in layer.named_parameters(recurse=False)}
    norms = {key for key, layer in layers.items() if isinstance(layer, nn.BatchNorm2d)}
    for key, parameter in named.items():
        z = draw(key, tuple(parameter.shape))
        if key.rpartition(".")[0] in norms:
            z = 1 + 0.1 * z if key.endswith("weight") else 0.1 * z
        else:
            z = z * (2 / parameter[0].numel()) ** 0.5 if key.endswith("weight") else 0.1 * z
        parameter.copy_(z)
    assert sum(p.numel() for p in named.values()) == network.num_parameters
    return named
