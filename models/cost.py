"""What a network costs, summed over its parts: the network itself is never built (docs/method.md, section 10).

Each part (an edge, a cell's output, a stem) is built once on the meta device, where nothing is computed, and
its cost remembered by operation, widths and map size; a network is a sum of some eighty of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.cell import Output
from models.dense_heads import map_widths
from models.heads import HEADS, Features
from models.plan import CellPlan, plan_cells
from models.spec import NetworkSpec
from models.stems import build_stems, stem_size
from ops.genotype import Genotype
from ops.primitives import pointwise
from ops.registry import build_operation
from ops.space import edges


class Cost(NamedTuple):
    """Parameters without auxiliary heads, and multiply-accumulates of one image in convolutions and linear maps."""

    parameters: int
    macs: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


def count_macs(network: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-accumulates of one forward pass: values that a layer gives times what each of them sums up."""
    total = 0

    def count(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _measured(module: nn.Module, channels: int, size: int) -> Cost:
    module = module.to("meta").eval()
    image = torch.empty(1, channels, size, size, device="meta")
    return Cost(sum(p.numel() for p in module.parameters()), count_macs(module, image))


@cache
def _edge(op: str, width: int, out_width: int, stride: int, antialias: str, size: int) -> Cost:
    return _measured(build_operation(op, width, out_width, stride=stride, antialias=antialias), width, size)


@cache
def _output(width: int, out_width: int, size: int) -> Cost:
    return _measured(Output(width, out_width), width, size)


@cache
def _stems(kind: str, channels: int, antialias: str, size: int) -> Cost:
    first, second = (_measured(stem, 3, size) for stem in build_stems(kind, channels, antialias))
    return first + second


def network_cost(genotype: Genotype, spec: NetworkSpec, image_size: int) -> Cost:
    """The cost of ``Network.of(genotype, spec)`` on square images."""
    plans = plan_cells(spec.blocks, spec.filters)
    size = stem_size(spec.stem, image_size)
    total = _stems(spec.stem, spec.filters, spec.antialias, image_size)
    for plan in plans:
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        total += _cell(plan, encoding, size, spec)
        size = size // 2 if plan.is_reduction else size
    return total + _head(spec, image_size)


@cache
def _head(spec: NetworkSpec, image_size: int) -> Cost:
    """The cost of the main head, which reads maps of every stride."""
    plans = plan_cells(spec.blocks, spec.filters)
    with torch.device("meta"):
        head, _ = HEADS[spec.head](spec, plans)
    size, maps = stem_size(spec.stem, image_size), {}
    for stride, width in map_widths(spec, plans).items():
        maps[stride] = torch.empty(1, width, size, size, device="meta")
        size //= 2
    features = Features(maps[max(maps)], [], maps)
    return Cost(sum(p.numel() for p in head.parameters()), count_macs(head.eval(), features))


def _cell(plan: CellPlan, encoding: Sequence[int], size: int, spec: NetworkSpec) -> Cost:
    space = spec.search_space
    out = size // 2 if plan.is_reduction else size
    stride = 2 if plan.is_reduction else 1
    total = _output(space.nodes * plan.width, plan.out_width, out)
    for pair in edges(encoding):
        for edge in pair:
            read = size if edge.input < 2 else out  # nodes of a reduction are halved already
            total += _edge(space.operations[edge.op], plan.width, plan.out_width, stride, spec.antialias, read)
    if plan.is_reduction:
        calibrate = pointwise(plan.out_width, plan.width).weight.numel()
        total += Cost(calibrate, space.nodes * calibrate * out * out)
        if not plan.is_last:
            total += Cost(calibrate, calibrate * size * size)
    return total
