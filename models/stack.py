"""Networks that are one stack of cells, of DARTS, ENAS and NAO: the wiring of a cell, and cells of one genotype.

docs/spaces.md, sections 22 and 24.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn

from models.parts import NEWER, NODE, OLDER, Part
from models.plan import SIDES, CellPlan
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.genotype import Genotype
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import ENAS, Edge, edges
from ops.stacked import project, reduce


def entry(channels: int, width: int, larger: bool, affine: bool = True, always: bool = True) -> nn.Module:
    """What brings a state to the size and the width of a cell; unless ``always``, nothing where it has both.

    (N, channels, H, W) -> (N, width, H', W'), half the size of one that is ``larger``.
    """
    if larger:
        return reduce(channels, width, affine)
    return project(channels, width, affine) if always or channels != width else nn.Identity()


class StackedCell(nn.Module, ABC):
    """A cell whose nodes each sum two edges. Subclasses hold the layers, and say which of them an edge is."""

    def __init__(self, plan: CellPlan) -> None:
        super().__init__()
        self.plan = plan

    @abstractmethod
    def layer(self, n: int, side: int, edge: Edge) -> nn.Module:
        """The operation of an edge of node n."""

    def stays(self, layer: nn.Module, edge: Edge) -> bool:
        """Whether drop path leaves an edge as it is."""
        return isinstance(layer, nn.Identity)

    def follow(self, states: list[Tensor], encoding: Encoding, keep: Tensor | None) -> list[Tensor]:
        """Append the nodes of a path, (N, C, H, W) or half the size in a reduction, to the two states of a cell.

        ``keep``: drop-path factors of all edges, (2 * nodes, N, 1, 1, 1), or None.
        """
        for n, pair in enumerate(edges(encoding)):
            layers = [self.layer(n, side, edge) for side, edge in enumerate(pair)]
            x, y = (layer(states[edge.input]) for layer, edge in zip(layers, pair, strict=True))
            if keep is not None:
                x = x if self.stays(layers[0], pair[0]) else x * keep[2 * n]
                y = y if self.stays(layers[1], pair[1]) else y * keep[2 * n + 1]
            states.append(x + y)
        return states


def operation(plan: CellPlan, spec: NetworkSpec, edge: Edge) -> nn.Module:
    """The operation that an edge of a genotype names."""
    return STACKED[spec.search_space.known[edge.op]](plan.width, plan.stride(edge.input), True)


class ChosenCell(StackedCell):
    """A cell of DARTS in which every edge is the one operation that the genotype names: ``ops.{node}.{side}``.

    The maps of the states that it gives, side by side, are the output.
    """

    def __init__(self, plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> None:
        super().__init__(plan)
        self.pre0 = entry(plan.reads[0], plan.width, plan.halved)
        self.pre1 = entry(plan.reads[1], plan.width, False)
        self.given = genotype.given(int(plan.is_reduction))
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        self.ops = nn.ModuleList(
            nn.ModuleList(operation(plan, spec, edge) for edge in pair) for pair in edges(encoding)
        )

    def layer(self, n: int, side: int, edge: Edge) -> nn.Module:
        """The operation of an edge of node n."""
        return self.ops[n][side]

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones, s1 and the output of this cell.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W).
        """
        states = self.follow([self.pre0(s0), self.pre1(s1)], encoding, keep)  # (N, C, H, W) each, C = plan.width
        return s1, concatenate([states[s] for s in self.given])  # (N, plan.out_width, ...)


class LooseCell(StackedCell):
    """A cell of ENAS or NAO in which every edge is the operation that the genotype names: ``nodes.{n}.{x,y}``.

    The states that no node reads, side by side, are its output; in a reduction the inputs among them are halved first.
    In ENAS the second input goes through another ReLU, 1x1 and batch norm, and identities never drop.
    """

    def __init__(self, plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> None:
        super().__init__(plan)
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        width, is_enas = plan.width, spec.space == ENAS.name
        self.given = genotype.given(int(plan.is_reduction))
        self.identity = ENAS.operations.index("identity") if is_enas else None
        self.pre0 = entry(plan.reads[0], width, plan.halved, always=False)
        self.pre1 = entry(plan.reads[1], width, False, always=False)
        self.further = project(width, width, affine=True) if is_enas else nn.Identity()
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: operation(plan, spec, edge) for side, edge in zip(SIDES, pair, strict=True)})
            for pair in edges(encoding)
        )
        larger = [state for state in self.given if state < 2 and plan.is_reduction]
        self.halve = nn.ModuleDict({str(state): reduce(width, width, True, rectified=False) for state in larger})

    def layer(self, n: int, side: int, edge: Edge) -> nn.Module:
        """The operation of an edge of node n."""
        return self.nodes[n][SIDES[side]]

    def stays(self, layer: nn.Module, edge: Edge) -> bool:
        """Whether drop path leaves an edge as it is: an identity of ENAS, also one that halves."""
        return edge.op == self.identity

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones, s1 and the output of this cell.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W).
        """
        inputs = [self.pre0(s0), self.further(self.pre1(s1))]  # (N, C, H, W) each, C = plan.width
        states = self.follow(inputs, encoding, keep)
        loose = [self.halve[str(s)](states[s]) if str(s) in self.halve else states[s] for s in self.given]
        return s1, concatenate(loose)  # (N, plan.out_width, ...)


def parts(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of a cell of the network of a genotype, by which it is counted."""
    (older, newer), width, space = plan.reads, plan.width, spec.search_space
    yield Part(entry, (older, width, plan.halved, True, not space.loose_ends), older, OLDER)
    yield Part(entry, (newer, width, False, True, not space.loose_ends), newer, NEWER)
    if spec.space == ENAS.name:
        yield Part(project, (width, width, True), width, NEWER)
    for pair in edges(genotype.cell(plan.stage, plan.index, plan.is_reduction)):
        for state, op in pair:
            of = (width, plan.stride(state), True)
            yield Part(STACKED[space.known[op]], of, width, NEWER if state < 2 else NODE)
    for state in genotype.given(int(plan.is_reduction)):
        if state < 2 and plan.is_reduction:
            yield Part(reduce, (width, width, True, False), width, NEWER)


def initialise(module: nn.Module) -> None:
    """Give convolutions and linear maps fresh weights, kaiming-normal fan_in; biases 0. Norms are fresh as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
