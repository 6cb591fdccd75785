"""Networks of ENAS and NAO, whose cells give their loose ends (docs/spaces.md, section 24)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from models.parts import NEWER, NODE, OLDER, Part
from models.plan import SIDES, CellPlan, plan_stack
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.genotype import Genotype
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import ENAS, edges
from ops.stacked import project, reduce


def plan_enas(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The L + 2 cells of a stack of L layers; the auxiliary head reads the cell behind the second reduction."""
    layers = spec.blocks[0]
    if layers < 1:
        raise ValueError(f"a stack needs at least one layer, not {layers}")
    second = 2 * (layers // 3) + 1
    reductions = (layers // 3, second)
    return plan_stack(spec, genotype, cells=layers + 2, reductions=reductions, aux_after=second + 1, beforehand=True)


def plan_nao(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The 3N + 2 cells of a stack: N between two reductions each; the auxiliary head reads the second reduction."""
    n = spec.blocks[0]
    return plan_stack(spec, genotype, cells=3 * n + 2, reductions=(n, 2 * n + 1), aux_after=2 * n + 1)


def calibration(channels: int, width: int, larger: bool) -> nn.Module:
    """What brings a state to the size and the width of a cell; nothing where it has both.

    (N, channels, H, W) -> (N, width, H', W'), half the size of one that is ``larger``.
    """
    if larger:
        return reduce(channels, width, affine=True)
    return nn.Identity() if channels == width else project(channels, width, affine=True)


class LooseCell(nn.Module):
    """A cell in which every edge is the one operation that the genotype names: ``nodes.{n}.{x,y}``.

    The states that no node reads, side by side, are its output; in a reduction the inputs among them are halved first.
    In ENAS the second input goes through another ReLU, 1x1 and batch norm, and identities never drop.
    """

    def __init__(self, plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> None:
        super().__init__()
        encoding, names = genotype.cell(plan.stage, plan.index, plan.is_reduction), spec.search_space.operations
        self.plan, self.given = plan, genotype.given(int(plan.is_reduction))
        width, is_enas = plan.width, spec.space == ENAS.name

        def operation(state: int, op: int) -> nn.Module:
            return STACKED[names[op]](width, plan.stride(state), True)

        self.pre0 = calibration(plan.reads[0], width, larger=plan.halved)
        self.pre1 = calibration(plan.reads[1], width, larger=False)
        self.further = project(width, width, affine=True) if is_enas else nn.Identity()
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: operation(*edge) for side, edge in zip(SIDES, pair, strict=True)})
            for pair in edges(encoding)
        )
        larger = [state for state in self.given if state < 2 and plan.is_reduction]
        self.halve = nn.ModuleDict({str(state): reduce(width, width, True, rectified=False) for state in larger})
        self.drops = tuple(not is_enas or names[op] != "identity" for op in encoding[1::2])

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
        edges, (2 * nodes, N, 1, 1, 1), or None.
        """
        states = [self.pre0(s0), self.further(self.pre1(s1))]  # (N, C, H, W) each, C = plan.width
        for n, pair in enumerate(edges(encoding)):
            x, y = (self.nodes[n][side](states[edge.input]) for side, edge in zip(SIDES, pair, strict=True))
            if keep is not None:
                x, y = (z * keep[i] if self.drops[i] else z for i, z in enumerate((x, y), 2 * n))
            states.append(x + y)  # (N, C, H, W), in a reduction (N, C, H/2, W/2)
        loose = [self.halve[str(s)](states[s]) if str(s) in self.halve else states[s] for s in self.given]
        return s1, concatenate(loose)  # (N, plan.out_width, ...)


def parts(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of such a cell, by which it is counted."""
    encoding, names = genotype.cell(plan.stage, plan.index, plan.is_reduction), spec.search_space.operations
    (older, newer), width = plan.reads, plan.width
    yield Part(calibration, (older, width, plan.halved), older, OLDER)
    yield Part(calibration, (newer, width, False), newer, NEWER)
    if spec.space == ENAS.name:
        yield Part(project, (width, width, True), width, NEWER)
    for pair in edges(encoding):
        for state, op in pair:
            of = (width, plan.stride(state), True)
            yield Part(STACKED[names[op]], of, width, NEWER if state < 2 else NODE)
    for state in genotype.given(int(plan.is_reduction)):
        if state < 2 and plan.is_reduction:
            yield Part(reduce, (width, width, True, False), width, NEWER)


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights: kaiming-normal fan_in, batch norms 1 and 0, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
