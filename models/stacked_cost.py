"""What a network that stacks cells costs, summed over its parts: it is never built (docs/method.md, section 10).

Each part of a cell is built once on the meta device, where nothing is computed, and its cost remembered by what it is
built of and the size of its map.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from models.macs import Cost, measured
from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import build_stems

OLDER, NEWER, NODE = range(3)  # what a part reads: the older state as it comes, a state of a cell, one of its nodes


class Part(NamedTuple):
    """Layers of a cell: ``build(*of)`` makes them, and they read ``channels`` of OLDER, NEWER or NODE."""

    build: Callable[..., nn.Module]
    of: tuple[Hashable, ...]
    channels: int
    reads: int


@cache
def _part(build: Callable[..., nn.Module], of: tuple[Hashable, ...], channels: int, side: int) -> Cost:
    with torch.device("meta"):
        return measured(build(*of), torch.empty(1, channels, side, side))


@cache
def _stems(kind: str, filters: int, antialias: str, side: int) -> tuple[Cost, int, int]:
    """The cost of the stems, and the sides of the two states that they give."""
    with torch.device("meta"):
        stems, image = build_stems(kind, filters, antialias).eval(), torch.empty(1, 3, side, side)
        older, newer = (state.shape[-1] for state in stems(image))
        return measured(stems, image), older, newer


def stacked_cost(
    plans: Sequence[CellPlan],
    parts: Callable[[CellPlan], Iterable[Part]],
    spec: NetworkSpec,
    image_size: int,
) -> Cost:
    """The cost of stems and cells on square images. ``parts``: those of a cell."""
    total, older, newer = _stems(spec.stem, spec.filters, spec.antialias, image_size)
    for plan in plans:
        node = -(-newer // 2) if plan.is_reduction else newer
        for part in parts(plan):
            total += _part(part.build, part.of, part.channels, (older, newer, node)[part.reads])
        older, newer = newer, node
    return total
