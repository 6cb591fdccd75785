"""Counting what a network costs: parameters, and multiply-accumulates of one pass (docs/strategies.md, section 10).

A network is the sum of its parts, and is never built: each part of a cell is built once on the meta device, where
nothing is computed, and its cost remembered by what it is built of and the size of its map.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import build_stems

OLDER, NEWER, NODE = range(3)  # what a part reads: the older state as it comes, a state of a cell, one of its nodes


class Cost(NamedTuple):
    """Parameters without auxiliary heads, and multiply-accumulates of one image in convolutions and linear maps."""

    parameters: int
    macs: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


def measured(module: nn.Module, *inputs: Any) -> Cost:
    """What a module costs that reads these inputs; it is put in evaluation mode."""
    return Cost(sum(p.numel() for p in module.parameters()), count_macs(module.eval(), *inputs))


def count_macs(network: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-accumulates of one forward pass: values that a layer gives times what each of them sums up."""
    total = 0

    def count(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    # Norms, activations and pools are not counted, as is the custom.
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total


class Part(NamedTuple):
    """Layers of a cell: ``build(*of)`` makes them; they read ``channels`` of OLDER, NEWER or NODE, ``uses`` times."""

    build: Callable[..., nn.Module]
    of: tuple[Hashable, ...]
    channels: int
    reads: int
    uses: int = 1


@cache
def _part(build: Callable[..., nn.Module], of: tuple[Hashable, ...], channels: int, side: int) -> Cost:
    with torch.device("meta"):
        return measured(build(*of), torch.empty(1, channels, side, side))


@cache
def _stems(kind: str, filters: int, antialias: str, side: int) -> tuple[Cost, int, int]:
    """The cost of the stems, and the sides of the two states that they give."""
    with torch.device("meta"):
        stems, image = build_stems(kind, filters, antialias).eval(), torch.empty(1, 3, side, side)
        # Chained stems give states of two sizes.
        older, newer = (state.shape[-1] for state in stems(image))
        return measured(stems, image), older, newer


def cells_cost(
    plans: Sequence[CellPlan], parts: Callable[[CellPlan], Iterable[Part]], spec: NetworkSpec, image_size: int
) -> Cost:
    """The cost of stems and cells on square images. ``parts``: those of a cell."""
    total, older, newer = _stems(spec.stem, spec.filters, spec.antialias, image_size)
    for plan in plans:
        # Nodes of a reduction have the smaller size already.
        node = spec.halved(newer) if plan.is_reduction else newer
        for part in parts(plan):
            # A part that is used for several nodes has its parameters once.
            cost = _part(part.build, part.of, part.channels, (older, newer, node)[part.reads])
            total += Cost(cost.parameters, part.uses * cost.macs)
        older, newer = newer, node
    return total
