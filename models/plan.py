"""The plan of a network: stages turned into a flat list of cells (docs/method.md, section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass


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


def plan_cells(blocks: Sequence[int], filters: int) -> tuple[CellPlan, ...]:
    """List the cells of a network in order, stage by stage.

    Stage i is ``blocks[i]`` normal cells of width ``filters * 2**i``, then one reduction cell. Auxiliary heads read the
    reduction of every stage but the last. Raises ValueError.
    """
    if not blocks or any(count < 0 for count in blocks):
        raise ValueError(f"blocks must be a non-empty list of counts, not {list(blocks)}")
    if filters < 2 or filters % 2:
        raise ValueError(f"filters must be even and positive: shuffle units split them in half; got {filters}")
    plans: list[CellPlan] = []
    for stage, count in enumerate(blocks):
        for position in range(count + 1):
            is_reduction, width = position == count, filters * 2**stage
            is_last = is_reduction and stage == len(blocks) - 1
            out_width = 2 * width if is_reduction else width
            feeds_aux = is_reduction and not is_last
            plans.append(
                CellPlan(len(plans), stage, is_reduction, width, out_width, is_last, feeds_aux, (width, width))
            )
    return tuple(plans)
