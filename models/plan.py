"""The plan of a network: its cells in order, of stages or of one stack, and what all cells have in common.

docs/method.md, section 2; docs/spaces.md, sections 22 and 24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.spec import NetworkSpec
from models.stems import STEMS
from ops.genotype import Genotype
from ops.space import DARTS

SIDES = ("x", "y")  # the two edges of a node, as they are named in a state dict


@dataclass(frozen=True)
class CellPlan:
    """One cell: where it stands, whether it halves the resolution, and its widths in channels.

    ``width``: of what its nodes work on; ``out_width``: of what it gives; ``feeds_aux``: whether an auxiliary head
    reads that; ``reads``: channels of the two states that it gets; ``halved``: whether the cell before was a reduction,
    so that the older of them is twice as large.
    """

    index: int
    stage: int
    is_reduction: bool
    width: int
    out_width: int
    is_last: bool
    feeds_aux: bool
    reads: tuple[int, int]
    halved: bool = False

    def stride(self, state: int) -> int:
        """That of an operation on a state in a stack: nodes of a reduction have the smaller size already."""
        return 2 if self.is_reduction and state < 2 else 1


def plan_stages(spec: NetworkSpec, _genotype: Genotype | None = None, *, ends: bool = True) -> tuple[CellPlan, ...]:
    """List the cells of a network of stages, which are the same for every genotype.

    Stage i is ``blocks[i]`` normal cells of width ``filters * 2**i``, then one reduction cell. Auxiliary heads read the
    reduction of every stage but the last. Without ``ends``, the last stage has no reduction, and there are no auxiliary
    heads. Raises ValueError.
    """
    blocks, filters = spec.blocks, spec.filters
    if not blocks or any(count < 0 for count in blocks):
        raise ValueError(f"blocks must be a non-empty list of counts, not {list(blocks)}")
    _require_even(filters)
    cells = [(stage, place == count) for stage, count in enumerate(blocks) for place in range(count + 1)]
    cells = cells if ends else cells[:-1]
    plans: list[CellPlan] = []
    for stage, is_reduction in cells:
        width, is_last = filters * 2**stage, len(plans) == len(cells) - 1
        plans.append(
            CellPlan(
                index=len(plans),
                stage=stage,
                is_reduction=is_reduction,
                width=width,
                out_width=2 * width if is_reduction else width,
                is_last=is_last,
                feeds_aux=ends and is_reduction and not is_last,  # the classifier reads the output of the last one
                reads=(width, width),
            )
        )
    return tuple(plans)


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
    if spec.blocks[0] < 1:
        raise ValueError(f"a stack needs at least one layer, not {spec.blocks[0]}")
    stem, width = STEMS[spec.stem], spec.filters
    _require_even(width)
    # Behind the chained stems of large images the older state is twice as large already.
    reads, halved, stage = (stem.factor * width,) * 2, spec.stem == "imagenet", 0
    plans: list[CellPlan] = []
    for index in range(cells):
        is_reduction = index in reductions
        width *= 1 + is_reduction
        out_width = width * (len(genotype.given(int(is_reduction))) if genotype else shared)
        plans.append(
            CellPlan(
                index=index,
                stage=stage,
                is_reduction=is_reduction,
                width=width,
                out_width=out_width,
                is_last=index == cells - 1,
                feeds_aux=index == aux_after,
                reads=reads,
                halved=halved,
            )
        )
        reads, halved = (reads[1], out_width), is_reduction
        if is_reduction:
            stage += 1
            if beforehand and genotype is None:  # the older state of the next cell is halved already
                reads, halved = (width, out_width), False
    return tuple(plans)


def plan_darts(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """L cells, of which number L//3 and 2L//3 are reductions; the auxiliary head reads the second.

    Without a genotype, for the supernet, whose cells give all nodes and which has no auxiliary head.
    """
    layers = spec.blocks[0]
    second = 2 * layers // 3
    aux_after = None if genotype is None else second
    reductions = (layers // 3, second)
    return plan_stack(spec, genotype, cells=layers, reductions=reductions, aux_after=aux_after, shared=DARTS.nodes)


def plan_enas(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The L + 2 cells of L layers; the auxiliary head reads the cell behind the second reduction."""
    layers = spec.blocks[0]
    second = 2 * (layers // 3) + 1
    reductions = (layers // 3, second)
    return plan_stack(spec, genotype, cells=layers + 2, reductions=reductions, aux_after=second + 1, beforehand=True)


def plan_nao(spec: NetworkSpec, genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The 3N + 2 cells of a stack: N between two reductions each; the auxiliary head reads the second reduction."""
    n = spec.blocks[0]
    return plan_stack(spec, genotype, cells=3 * n + 2, reductions=(n, 2 * n + 1), aux_after=2 * n + 1)


def _require_even(filters: int) -> None:
    if filters < 2 or filters % 2:
        raise ValueError(f"filters must be even and positive: operations split them in half; got {filters}")
