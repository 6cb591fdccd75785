"""Networks of the ENAS micro space (docs/method.md, section 24)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from models.auxiliary import AuxiliaryHead
from models.heads import PooledLinear
from models.loose_ends import LooseCell, loose_parts
from models.loose_supernet import SharedCell
from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stack import plan_stack
from models.stacked_cost import Part
from ops.genotype import Genotype


def plan(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The L + 2 cells of a stack of L layers; the auxiliary head reads the cell behind the second reduction."""
    layers = spec.blocks[0]
    if layers < 1:
        raise ValueError(f"a stack needs at least one layer, not {layers}")
    second = 2 * (layers // 3) + 1
    reductions = (layers // 3, second)
    return plan_stack(spec, genotype, cells=layers + 2, reductions=reductions, aux_after=second + 1, beforehand=True)


def chosen_cell(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> LooseCell:
    """A cell of the network of a genotype. Its identities never drop."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
    given, names = genotype.given(int(plan.is_reduction)), spec.search_space.operations
    return LooseCell(plan, encoding, given, names, further=True, steady=("identity",))


def shared_cell(plan: CellPlan, spec: NetworkSpec) -> SharedCell:
    """A cell of the supernet."""
    space = spec.search_space
    return SharedCell(plan, space.operations, space.nodes, beforehand=True)


def parts(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of such a cell."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
    return loose_parts(
        plan, encoding, genotype.given(int(plan.is_reduction)), spec.search_space.operations, further=True
    )


def classify(spec: NetworkSpec, plans: Sequence[CellPlan]) -> tuple[nn.Module, list[nn.Module]]:
    """The classifier, which reads ReLU of the last map, and the auxiliary head; neither has a bias in the end."""
    large = spec.stem == "imagenet"
    aux: list[nn.Module] = [
        AuxiliaryHead(plan.out_width, spec.num_classes, large, both_norms=True, bias=False)
        for plan in plans
        if plan.feeds_aux
    ]
    return PooledLinear(plans[-1].out_width, spec.num_classes, rectified=True), aux
