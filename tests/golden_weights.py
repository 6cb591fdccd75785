"""Fill a network with the golden weights: every parameter is drawn from a hash of its name."""

import zlib
from collections.abc import Iterator

import numpy
import torch
from torch import nn

from models.network import Network
from ops.space import SLNAS


def owns_parameters(layer: nn.Module) -> bool:
    return next(layer.parameters(recurse=False), None) is not None


def owners(module: nn.Module) -> list[nn.Module]:
    """The layers below that own parameters, in registration order."""
    return [layer for layer in module.modules() if owns_parameters(layer)]


def golden_layers(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """(key, layer) for every layer that owns parameters, with keys as golden/README.md names them."""
    for s, stem in enumerate(network.stems):
        for j, layer in enumerate(owners(stem)):
            yield f"stems.{s}.{j}", layer
    for i, block in enumerate(network.blocks):
        plan = block.plan
        encoding = network.genotype.cell(plan.stage, plan.index, plan.is_reduction)
        for n, node in enumerate(block.nodes):
            for position, side in ((1, "x"), (3, "y")):
                name = SLNAS.operations[encoding[4 * n + position]]
                for j, layer in enumerate(owners(node[side])):
                    yield f"blocks.{i}.nodes.{n}.{side}.{name}.{j}", layer
        for name, layer in block.named_modules(prefix=f"blocks.{i}"):
            if ".nodes" not in name and owns_parameters(layer):
                yield name, layer
    for i, head in enumerate(network.aux_heads):
        yield f"aux_heads.{i}", head
    yield "head", network.head


def draw(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(numpy.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape))


@torch.no_grad()
def fill(network: Network) -> dict[str, nn.Module]:
    """Set every parameter; returns the layers by key. All parameters must be reached exactly once."""
    layers = dict(golden_layers(network))
    reached = 0
    for key, layer in layers.items():
        for leaf, parameter in layer.named_parameters(recurse=False):
            z = draw(f"{key}.{leaf}", tuple(parameter.shape))
            if isinstance(layer, nn.BatchNorm2d):
                z = 1 + 0.1 * z if leaf == "weight" else 0.1 * z
            else:
                z = z * (2 / parameter[0].numel()) ** 0.5
            parameter.copy_(z)
            reached += parameter.numel()
    assert reached == network.num_parameters
    return layers
