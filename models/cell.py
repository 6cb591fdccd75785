"""A cell: the wiring of its nodes, written once for supernet and network (docs/method.md, section 2)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.plan import CellPlan
from ops.layout import concatenate
from ops.mish import Mish
from ops.primitives import pointwise
from ops.space import Space, edges
from ops.squeeze_excite import SqueezeExcite

EdgeBuilder = Callable[[int, str], nn.Module]
Through = Callable[[nn.Module, Tensor], Tensor]
SIDES = ("x", "y")  # the two edges of a node, as they are named in a state dict


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
    the encoding picks one.
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
        encoding: Sequence[int],
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1 as the next cell reads it, and the output of this cell.

        s0 (N, W, H', H') and s1 (N, W, H, H), W = plan.width. ``keep``: drop-path factors of all edges,
        (2 * nodes, N, 1, 1, 1), or None. ``through``: applies an operation to a state, where it may be known already.
        """
        states = [resize(s0, s1.shape[-2:]), s1]  # (N, W, H, H) each
        for n, pair in enumerate(edges(encoding)):
            x, y = (
                self._edge(self.nodes[n][side], edge.op, states[edge.input], through)
                for side, edge in zip(SIDES, pair, strict=True)
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

    def _edge(self, edge: nn.Module, op: int, state: Tensor, through: Through | None) -> Tensor:
        operation = edge[op] if isinstance(edge, nn.ModuleList) else edge
        return operation(state) if through is None else through(operation, state)
