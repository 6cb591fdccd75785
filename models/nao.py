"""Networks of NAO, which are only trained from scratch here (docs/method.md, section 24)."""

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

SHARED = 5  # so many operations have weights in the supernet: those of ENAS


def plan(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The 3N + 2 cells of a stack: N between two reductions each; the auxiliary head reads the second reduction."""
    n = spec.blocks[0]
    return plan_stack(spec, genotype, cells=3 * n + 2, reductions=(n, 2 * n + 1), aux_after=2 * n + 1)


def chosen_cell(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> LooseCell:
    """A cell of the network of a genotype."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
    return LooseCell(plan, encoding, genotype.given(int(plan.is_reduction)), spec.search_space.operations)


def shared_cell(plan: CellPlan, spec: NetworkSpec) -> SharedCell:
    """A cell of the supernet, whose genotypes have the first operations alone, as NAONet-B has."""
    space = spec.search_space
    return SharedCell(plan, space.operations[:SHARED], space.nodes, beforehand=False)


def parts(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of such a cell."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
    return loose_parts(plan, encoding, genotype.given(int(plan.is_reduction)), spec.search_space.operations)


def classify(spec: NetworkSpec, plans: Sequence[CellPlan]) -> tuple[nn.Module, list[nn.Module]]:
    """The classifier and the auxiliary head."""
    large = spec.stem == "imagenet"
    aux: list[nn.Module] = [
        AuxiliaryHead(plan.out_width, spec.num_classes, large, both_norms=True) for plan in plans if plan.feeds_aux
    ]
    return PooledLinear(plans[-1].out_width, spec.num_classes, bias=True), aux
