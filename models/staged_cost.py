"""What one of our own networks costs, summed over its parts: it is never built (docs/method.md, section 10).

Each part (an edge, a cell's output, a stem) is built once on the meta device, where nothing is computed, and
its cost remembered by operation, widths and map size; a network is a sum of some eighty of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import nn

from models.cell import Output
from models.macs import Cost, measured
from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import build_stems, stem_size
from ops.genotype import Genotype
from ops.layers import pointwise
from ops.registry import build_operation
from ops.space import edges


def _reading(module: nn.Module, channels: int, size: int) -> Cost:
    """What layers cost that read a map."""
    return measured(module.to("meta"), torch.empty(1, channels, size, size, device="meta"))


@cache
def _edge(op: str, width: int, out_width: int, stride: int, antialias: str, size: int) -> Cost:
    return _reading(build_operation(op, width, out_width, stride=stride, antialias=antialias), width, size)


@cache
def _output(width: int, out_width: int, size: int) -> Cost:
    return _reading(Output(width, out_width), width, size)


@cache
def _stems(kind: str, channels: int, antialias: str, size: int) -> Cost:
    first, second = (_reading(stem, 3, size) for stem in build_stems(kind, channels, antialias))
    return first + second


def staged_cost(plans: Sequence[CellPlan], genotype: Genotype, spec: NetworkSpec, image_size: int) -> Cost:
    """The cost of stems and cells on square images."""
    size = stem_size(spec.stem, image_size)
    total = _stems(spec.stem, spec.filters, spec.antialias, image_size)
    for plan in plans:
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        total += _cell(plan, encoding, size, spec)
        size = size // 2 if plan.is_reduction else size
    return total


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
