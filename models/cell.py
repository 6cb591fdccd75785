"""A cell: the wiring of its nodes, written once for supernet and network (docs/method.md, section 2)."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.plan import CellPlan
from ops.layers import Mish, SqueezeExcite, pointwise
from ops.layout import concatenate
from ops.mixture import MixedEdge, MixedEdges
from ops.space import Edge, Space, edges

EdgeBuilder = Callable[[int, str], nn.Module]
Through = Callable[[nn.Module, Tensor], Tensor]
SIDES = ("x", "y")  # the two edges of a node, as they are named in a state dict


def apply(operation: nn.Module, x: Tensor) -> Tensor:
    """Run an operation: what ``through`` does where nothing is known already."""
    return operation(x)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps bilinearly, align_corners False; a map that already has the size is passed on, not copied."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def add(a: Tensor, b: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
    """Sum two edges; the smaller map is resized to the larger first.

    ``keep``: drop-path factors of the two, (N, 1, 1, 1) each.
    """
    size = (max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1]))
    a, b = resize(a, size), resize(b, size)
    return a + b if keep is None else torch.addcmul(a * keep[0], b, keep[1])


def mixed(operations: Iterable[nn.Module], states: Sequence[Tensor], edge: MixedEdge) -> Tensor:
    """Run an edge that has not chosen: the weighted sum of operations of the weighted sum of states.

    As in :func:`add`, smaller maps are resized to the largest first, states and results alike.
    """
    state = weighted_sum(edge.input, states)  # (N, W, H, H)
    return weighted_sum(edge.op, [operation(state) for operation in operations])  # (N, out, H', H')


def weighted_sum(weights: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """The sum of maps, each with its weight; smaller ones are resized to the largest."""
    size = [max(side) for side in zip(*(x.shape[-2:] for x in maps), strict=True)]
    first, *others = (w * resize(x, size) for w, x in zip(weights.unbind(), maps, strict=True))
    return sum(others, first)


class Output(nn.Module):
    """Join the nodes of a cell, which lie side by side, to what the next cells read."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)
        self.act = Mish()
        self.se = SqueezeExcite(width)
        self.conv = pointwise(width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, nodes * W, H, W) -> (N, out, H, W)."""
        return self.conv(self.se(self.act(self.bn(x))))


class Cell(nn.Module):
    """Wire the nodes of one cell. ``build_edge(node, side)`` makes the module of an edge.

    An edge of the chosen network is one operation; an edge of the supernet is a list of all of them, of which
    the encoding picks one, or which it mixes by the weights that take its place.
    """

    def __init__(self, plan: CellPlan, space: Space, build_edge: EdgeBuilder) -> None:
        super().__init__()
        self.plan = plan
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: build_edge(n, side) for side in SIDES}) for n in range(space.nodes)
        )
        if plan.is_reduction:
            self.calibrate = pointwise(plan.out_width, plan.width)
            if not plan.is_last:
                self.skip = pointwise(plan.width, plan.out_width)
        self.out = Output(space.nodes * plan.width, plan.out_width)

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Sequence[int] | MixedEdges,
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1 as the next cell reads it, and the output of this cell.

        s0 (N, W, H', H') and s1 (N, W, H, H), W = plan.width. ``keep``: drop-path factors of all edges,
        (2 * nodes, N, 1, 1, 1), or None. ``through``: applies an operation to a state, where it may be known already.
        """
        states = [resize(s0, s1.shape[-2:]), s1]  # (N, W, H, H) each
        for n, pair in enumerate(encoding.pairs() if isinstance(encoding, MixedEdges) else edges(encoding)):
            x, y = (
                self._edge(self.nodes[n][side], edge, states, through) for side, edge in zip(SIDES, pair, strict=True)
            )
            # (N, W, H, H), or in a reduction (N, 2W, ...): each edge H, H/2 or H/4, by what it reads and does
            node = add(x, y, None if keep is None else keep[2 * n : 2 * n + 2])
            states.append(self._join(node, s1))  # (N, W, H, H), or (N, W, H/2, H/2)
        out = self.out(concatenate(states[2:]))  # (N, W, H, H), or (N, 2W, H/2, H/2)
        has_skip = self.plan.is_reduction and not self.plan.is_last
        return (self.skip(s1) if has_skip else s1), out  # the next s0 is as wide as out

    def _join(self, node: Tensor, s1: Tensor) -> Tensor:
        """A node of a reduction is brought to half the size and back to W channels, so that later nodes can read it."""
        if not self.plan.is_reduction:
            return node
        return self.calibrate(resize(node, (s1.shape[-2] // 2, s1.shape[-1] // 2)))

    def _edge(
        self, held: nn.Module, edge: Edge | MixedEdge, states: Sequence[Tensor], through: Through | None
    ) -> Tensor:
        if isinstance(edge, MixedEdge):
            return mixed(held, states, edge)
        operation, state = held[edge.op] if isinstance(held, nn.ModuleList) else held, states[edge.input]
        return (through or apply)(operation, state)
