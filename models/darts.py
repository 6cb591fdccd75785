"""Networks in the manner of DARTS: one stack of cells with two reductions (docs/spaces.md, section 22)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from models.parts import NEWER, NODE, OLDER, Part
from models.plan import CellPlan, plan_stack
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.genotype import Genotype
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import DARTS, edges
from ops.stacked import project, reduce


def plan(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The cells of a stack: L of them, of which number L//3 and 2L//3 double the channels and halve the map.

    Without a genotype, for the supernet, whose cells give all nodes and which has no auxiliary head.
    """
    layers = spec.blocks[0]
    if layers < 1:
        raise ValueError(f"a stack needs at least one cell, not {layers}")
    second = 2 * layers // 3
    aux_after = None if genotype is None else second
    return plan_stack(
        spec, genotype, cells=layers, reductions=(layers // 3, second), aux_after=aux_after, shared=DARTS.nodes
    )


class StackedCell(nn.Module):
    """What all cells of a stack have in common: they bring the two states that they read to one size and width."""

    def __init__(self, plan: CellPlan, affine: bool) -> None:
        super().__init__()
        self.plan = plan
        older, newer = plan.reads
        self.pre0 = (reduce if plan.halved else project)(older, plan.width, affine)
        self.pre1 = project(newer, plan.width, affine)


class ChosenCell(StackedCell):
    """A cell in which every edge is the one operation that the genotype names: ``ops.{node}.{side}``.

    The maps of the states that it gives, side by side, are the output.
    """

    def __init__(self, plan: CellPlan, _spec: NetworkSpec, genotype: Genotype) -> None:
        super().__init__(plan, affine=True)
        self.given = genotype.given(int(plan.is_reduction))
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        self.ops = nn.ModuleList(
            nn.ModuleList(STACKED[DARTS.known[op]](plan.width, plan.stride(state), True) for state, op in pair)
            for pair in edges(encoding)
        )

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding,
        *,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones, s1 and the output of this cell.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``keep``: drop-path factors of all
        edges, (2 * nodes, N, 1, 1, 1), or None; identities never drop.
        """
        states = [self.pre0(s0), self.pre1(s1)]  # (N, C, H, W) each, C = plan.width
        for n, (pair, layers) in enumerate(zip(edges(encoding), self.ops, strict=True)):
            terms = [layer(states[edge.input]) for edge, layer in zip(pair, layers, strict=True)]
            if keep is not None:
                terms = [dropped(x, layers[side], keep[2 * n + side]) for side, x in enumerate(terms)]
            states.append(terms[0] + terms[1])  # (N, C, H, W), in a reduction (N, C, H/2, W/2)
        return s1, concatenate([states[s] for s in self.given])  # (N, plan.out_width, ...)


def dropped(x: Tensor, operation: nn.Module, keep: Tensor) -> Tensor:
    """What is left of an edge's output (N, C, H, W) by its drop-path factors (N, 1, 1, 1); identities stay."""
    return x if isinstance(operation, nn.Identity) else x * keep


def parts(plan: CellPlan, _spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of a cell of the network of a genotype."""
    (older, newer), width = plan.reads, plan.width
    yield Part(reduce if plan.halved else project, (older, width, True), older, OLDER)
    yield Part(project, (newer, width, True), newer, NEWER)
    for pair in edges(genotype.cell(plan.stage, plan.index, plan.is_reduction)):
        for state, op in pair:
            of = (width, plan.stride(state), True)
            yield Part(STACKED[DARTS.known[op]], of, width, NEWER if state < 2 else NODE)


def initialise(_module: nn.Module) -> None:
    """Leave all layers with the fresh weights that torch gives them."""
