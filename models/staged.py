"""Our own networks: stages of normal cells, each ended by a reduction (docs/method.md, section 2).

The wiring of a cell is written once, for supernet and network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.parts import NEWER, NODE, Part
from models.plan import SIDES, CellPlan
from models.spec import NetworkSpec
from ops.genotype import Genotype
from ops.layers import Mish, SqueezeExcite, pointwise
from ops.layout import concatenate
from ops.mixture import MixedEdge, MixedEdges
from ops.registry import OPERATIONS
from ops.space import Edge, edges

STEMS = ("full", "quarter", "quarter_blur", "quarter")  # small images, retrained and searched; large ones


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

    def __init__(self, plan: CellPlan, nodes: int, build_edge: Callable[[int, str], nn.Module]) -> None:
        super().__init__()
        self.plan = plan
        self.nodes = nn.ModuleList(nn.ModuleDict({side: build_edge(n, side) for side in SIDES}) for n in range(nodes))
        if plan.is_reduction:
            self.calibrate = pointwise(plan.out_width, plan.width)
            if not plan.is_last:
                self.skip = pointwise(plan.width, plan.out_width)
        self.out = Output(nodes * plan.width, plan.out_width)

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Sequence[int] | MixedEdges, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1 as the next cell reads it, and the output of this cell.

        s0 (N, W, H', H') and s1 (N, W, H, H), W = plan.width. ``keep``: drop-path factors of all edges,
        (2 * nodes, N, 1, 1, 1), or None.
        """
        states = [resize(s0, s1.shape[-2:]), s1]  # (N, W, H, H) each
        for n, pair in enumerate(encoding.pairs() if isinstance(encoding, MixedEdges) else edges(encoding)):
            x, y = (self._edge(self.nodes[n][side], edge, states) for side, edge in zip(SIDES, pair, strict=True))
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

    def _edge(self, held: nn.Module, edge: Edge | MixedEdge, states: Sequence[Tensor]) -> Tensor:
        if isinstance(edge, MixedEdge):
            return mixed(held, states, edge)
        operation = held[edge.op] if isinstance(held, nn.ModuleList) else held
        return operation(states[edge.input])


def chosen_cell(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Cell:
    """A cell in which every edge is the one operation that the genotype names."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)

    def edge(n: int, side: str) -> nn.Module:
        return _operation(plan, spec, spec.search_space.operations[encoding[4 * n + _place(side)]])

    return Cell(plan, spec.search_space.nodes, edge)


def shared_cell(plan: CellPlan, spec: NetworkSpec) -> Cell:
    """A cell in which every edge holds all operations of the space, of which a genotype picks one."""
    names = spec.search_space.operations

    def edge(_n: int, _side: str) -> nn.Module:
        return nn.ModuleList(_operation(plan, spec, name) for name in names)

    return Cell(plan, spec.search_space.nodes, edge)


def shared_key(parts: list[str], encoding: tuple[int, ...]) -> list[str]:
    """The key in the supernet's cell of a key in the chosen one's: ``nodes.{n}.{x,y}`` gets the operation's number."""
    if parts[0] != "nodes":
        return parts
    return [*parts[:3], str(encoding[4 * int(parts[1]) + _place(parts[2])]), *parts[3:]]


def _place(side: str) -> int:
    """Where the operation of an edge stands among the four integers of its node."""
    return 1 if side == "x" else 3


def _operation(plan: CellPlan, spec: NetworkSpec, name: str) -> nn.Module:
    return OPERATIONS[name](plan.width, plan.out_width, 2 if plan.is_reduction else 1, spec.antialias)


def parts(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of a cell of the network of a genotype, by which it is counted."""
    width, out_width, nodes = plan.width, plan.out_width, spec.search_space.nodes
    for pair in edges(genotype.cell(plan.stage, plan.index, plan.is_reduction)):
        for state, op in pair:  # nodes of a reduction are halved already
            of = (width, out_width, 2 if plan.is_reduction else 1, spec.antialias)
            yield Part(OPERATIONS[spec.search_space.operations[op]], of, width, NEWER if state < 2 else NODE)
    yield Part(Output, (nodes * width, out_width), nodes * width, NODE)
    if plan.is_reduction:
        yield Part(pointwise, (out_width, width), out_width, NODE, uses=nodes)  # one calibration for all nodes
    if plan.is_reduction and not plan.is_last:
        yield Part(pointwise, (width, out_width), width, NEWER)


def initialise(module: nn.Module) -> None:
    """Give layers fresh weights, convolutions kaiming-normal fan_out, linear maps normal(0, 0.01)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
