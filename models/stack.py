"""The plan of a network that is one stack of cells with two reductions (docs/method.md, sections 22 and 24)."""

from __future__ import annotations

from collections.abc import Sequence

from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import STEMS
from ops.genotype import Genotype

FITTING = ("plain", "plain", "imagenet", "imagenet")  # stems: small images, retrained and searched; large ones


def plan_stack(
    spec: NetworkSpec,
    genotype: Genotype | None,
    *,
    cells: int,
    reductions: Sequence[int],
    aux_after: int | None,
    shared: int = 1,
    beforehand: bool = False,
) -> tuple[CellPlan, ...]:
    """List the cells of a stack, in which each reduction doubles the channels and halves the map.

    A cell of a genotype gives as many times its width as it gives nodes; without a genotype, for the supernet,
    ``shared`` times. ``aux_after``: the cell that the auxiliary head reads, None for none. ``beforehand``: reductions
    of the supernet halve both states before they do anything else.
    """
    stem, width = STEMS[spec.stem], spec.filters
    if width < 2 or width % 2:
        raise ValueError(f"filters must be even and positive: reductions give half of them each way; got {width}")
    reads, halved, stage = (stem.factor * width,) * 2, spec.stem == "imagenet", 0
    plans: list[CellPlan] = []
    for index in range(cells):
        is_reduction = index in reductions
        width *= 1 + is_reduction
        out_width = width * (len(genotype.given(int(is_reduction))) if genotype else shared)
        is_last = index == cells - 1
        plans.append(CellPlan(index, stage, is_reduction, width, out_width, is_last, index == aux_after, reads, halved))
        reads, halved = (reads[1], out_width), is_reduction
        if is_reduction:
            stage += 1
            if beforehand and genotype is None:  # the older state of the next cell is halved already
                reads, halved = (width, out_width), False
    return tuple(plans)
