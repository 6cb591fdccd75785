"""A block: the wiring of five nodes, written once for supernet and network (METHOD section 2)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.plan import BlockPlan
from ops.genotype import NUM_NODES, edges
from ops.layout import concatenate
from ops.mish import Mish
from ops.primitives import pointwise
from ops.squeeze_excite import SqueezeExcite

EdgeBuilder = Callable[[int, str], nn.Module]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, align_corners False; a map that already has the size is passed on, not copied."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def add(a: Tensor, b: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
    """The sum of two edges; the smaller map is resized to the larger first. ``keep``: drop-path factors of the two."""
    size = (max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1]))
    a, b = resize(a, size), resize(b, size)
    return a + b if keep is None else torch.addcmul(a * keep[0], b, keep[1])


class Output(nn.Module):
    """Concatenated nodes (N, 5W, H, W) -> BN, Mish, squeeze-and-excitation, 1x1 conv -> (N, out, H, W)."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(NUM_NODES * width)
        self.act = Mish()
        self.se = SqueezeExcite(NUM_NODES * width)
        self.conv = pointwise(NUM_NODES * width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.se(self.act(self.bn(x))))


class Block(nn.Module):
    """One block. ``build_edge(node, side)`` makes the module of an edge; the caller says how it is applied.

    An edge of the chosen network is one operation; an edge of the supernet is a list of all of them, of which
    the encoding picks one.
    """

    def __init__(self, plan: BlockPlan, build_edge: EdgeBuilder) -> None:
        super().__init__()
        self.plan = plan
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: build_edge(n, side) for side in ("x", "y")}) for n in range(NUM_NODES)
        )
        if plan.is_reduction:
            self.calibrate = pointwise(plan.out_width, plan.width)
            if not plan.is_last:
                self.skip = pointwise(plan.width, plan.out_width)
        self.out = Output(plan.width, plan.out_width)

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Sequence[int], *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next (s0, s1). ``keep``: drop-path factors of the ten edges, (10, N, 1, 1, 1), or None."""
        states = [resize(s0, s1.shape[-2:]), s1]
        for n, pair in enumerate(edges(encoding)):
            x, y = (
                self._edge(self.nodes[n][side], edge.op)(states[edge.input])
                for side, edge in zip(("x", "y"), pair, strict=True)
            )
            states.append(self._join(add(x, y, None if keep is None else keep[2 * n : 2 * n + 2]), s1))
        out = self.out(concatenate(states[2:]))
        has_skip = self.plan.is_reduction and not self.plan.is_last
        return (self.skip(s1) if has_skip else s1), out

    def _join(self, y: Tensor, s1: Tensor) -> Tensor:
        """A node of a reduction block is brought to half the size and back to W channels."""
        if not self.plan.is_reduction:
            return y
        return self.calibrate(resize(y, (s1.shape[-2] // 2, s1.shape[-1] // 2)))

    def _edge(self, edge: nn.Module, op: int) -> nn.Module:
        return edge[op] if isinstance(edge, nn.ModuleList) else edge
