"""The plan of a network: stages turned into a flat list of cells (docs/method.md, section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CellPlan:
    """One cell: where it stands, whether it halves the resolution, and its widths in channels."""

    index: int
    stage: int
    is_reduction: bool
    width: int
    is_last: bool

    @property
    def out_width(self) -> int:
        """Channels of what the cell gives."""
        return 2 * self.width if self.is_reduction else self.width

    @property
    def ends_stage(self) -> bool:
        """Whether an auxiliary head may read this cell: the reduction of every stage but the last."""
        return self.is_reduction and not self.is_last


def plan_cells(blocks: Sequence[int], filters: int) -> tuple[CellPlan, ...]:
    """List the cells of a network in order, stage by stage.

    Stage i is ``blocks[i]`` normal cells of width ``filters * 2**i``, then one reduction cell. Raises ValueError.
    """
    if not blocks or any(count < 0 for count in blocks):
        raise ValueError(f"blocks must be a non-empty list of counts, not {list(blocks)}")
    if filters < 2 or filters % 2:
        raise ValueError(f"filters must be even and positive: shuffle units split them in half; got {filters}")
    plans: list[CellPlan] = []
    for stage, count in enumerate(blocks):
        for position in range(count + 1):
            is_reduction = position == count
            is_last = is_reduction and stage == len(blocks) - 1
            plans.append(CellPlan(len(plans), stage, is_reduction, filters * 2**stage, is_last))
    return tuple(plans)
