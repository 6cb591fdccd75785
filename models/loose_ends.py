"""Cells whose output is their loose ends, as ENAS and NAO have them (docs/method.md, section 24)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from models.cell import SIDES, Through
from models.plan import CellPlan
from models.stacked_cost import NEWER, NODE, OLDER, Part
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import edges
from ops.stacked import project, reduce


def calibration(channels: int, width: int, larger: bool) -> nn.Module:
    """What brings a state to the size and the width of a cell; nothing where it has both.

    (N, channels, H, W) -> (N, width, H', W'), half the size of one that is ``larger``.
    """
    if larger:
        return reduce(channels, width, affine=True)
    return nn.Identity() if channels == width else project(channels, width, affine=True)


class LooseCell(nn.Module):
    """A cell in which every edge is the one operation that the encoding names: ``nodes.{n}.{x,y}``.

    ``given``: the states that no node reads, whose maps, side by side, are the output; in a reduction the inputs among
    them are halved first. ``names``: of the operations, by number. ``further``: the second input goes through another
    ReLU, 1x1 and batch norm. ``steady``: operations whose paths never drop.
    """

    def __init__(
        self,
        plan: CellPlan,
        encoding: Encoding,
        given: Sequence[int],
        names: Sequence[str],
        *,
        further: bool = False,
        steady: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.plan, self.given = plan, tuple(given)
        width = plan.width

        def operation(state: int, op: int) -> nn.Module:
            return STACKED[names[op]](width, plan.stride(state), True)

        self.pre0 = calibration(plan.reads[0], width, larger=plan.halved)
        self.pre1 = calibration(plan.reads[1], width, larger=False)
        self.further = project(width, width, affine=True) if further else nn.Identity()
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: operation(*edge) for side, edge in zip(SIDES, pair, strict=True)})
            for pair in edges(encoding)
        )
        larger = [state for state in self.given if state < 2 and plan.is_reduction]
        self.halve = nn.ModuleDict({str(state): reduce(width, width, True, rectified=False) for state in larger})
        self.drops = tuple(names[op] not in steady for op in encoding[1::2])

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding,
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
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


def loose_parts(
    plan: CellPlan, encoding: Encoding, given: Sequence[int], names: Sequence[str], *, further: bool = False
) -> Iterator[Part]:
    """The layers of the LooseCell of the same arguments."""
    (older, newer), width = plan.reads, plan.width
    yield Part(calibration, (older, width, plan.halved), older, OLDER)
    yield Part(calibration, (newer, width, False), newer, NEWER)
    if further:
        yield Part(project, (width, width, True), width, NEWER)
    for pair in edges(encoding):
        for state, op in pair:
            of = (width, plan.stride(state), True)
            yield Part(STACKED[names[op]], of, width, NEWER if state < 2 else NODE)
    for state in given:
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
