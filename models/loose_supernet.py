"""Supernets of ENAS and NAO: weights of their own for each input (docs/method.md, section 24)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import loose_ends as stacked
from models.cell import SIDES, Through, apply
from models.loose_ends import calibration
from models.plan import CellPlan
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import edges, loose_ends
from ops.stacked import reduce


class Join(nn.Module):
    """Bring the loose ends of a cell back to its width: ReLU, a 1x1 convolution, batch norm.

    ``weight``: (states, C, C); the rows of the states in use make the weight of the convolution.
    """

    def __init__(self, states: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(states, width, width))
        self.bn = nn.BatchNorm2d(width)

    def forward(self, states: list[Tensor], given: tuple[int, ...]) -> Tensor:
        """States (N, C, H, W), of which k are given -> (N, C, H, W)."""
        weight = torch.cat([self.weight[s] for s in given], dim=1)  # (C, k * C)
        x = F.relu(concatenate([states[s] for s in given]))  # (N, k * C, H, W)
        return self.bn(F.conv2d(x, weight[:, :, None, None]))


class SharedCell(nn.Module):
    """A cell that holds all operations for every input: ``nodes.{n}.{x,y}.{op}.{input}``; an encoding picks among them.

    ``beforehand``: all operations have stride 1, and a reduction makes both of its states from the newer one, at half
    the size. Else a reduction is one of the chosen network: operations on states 0 and 1 have stride 2, and those two
    are halved by themselves where they are loose ends.
    """

    def __init__(self, plan: CellPlan, names: Sequence[str], nodes: int, beforehand: bool) -> None:
        super().__init__()
        self.plan, width = plan, plan.width
        older, newer = plan.reads
        self.halves_first = plan.is_reduction and beforehand
        if self.halves_first:
            self.pre0 = reduce(newer, width, affine=True)
            self.pre1 = reduce(newer, width, affine=True, rectified=False)
        else:
            self.pre0 = calibration(older, width, larger=plan.halved)
            self.pre1 = calibration(newer, width, larger=False)
        strided = plan.is_reduction and not beforehand

        def edge(inputs: int) -> nn.ModuleList:
            strides = [2 if strided and state < 2 else 1 for state in range(inputs)]
            return nn.ModuleList(nn.ModuleList(STACKED[name](width, s, True) for s in strides) for name in names)

        self.nodes = nn.ModuleList(nn.ModuleDict({side: edge(n + 2) for side in SIDES}) for n in range(nodes))
        self.halve = nn.ModuleList(reduce(width, width, True, rectified=False) for _ in range(2) if strided)
        self.join = Join(nodes + 2, width)

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding,
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1, or what is made of it beforehand, and the output.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``keep``: drop-path factors of all
        edges, (2 * nodes, N, 1, 1, 1), or None. ``through``: see models.cell.
        """
        run = through or apply
        first = run(self.pre0, s1 if self.halves_first else s0)  # (N, C, H, W), C = plan.width, or half the size
        second = run(self.pre1, s1)  # the same
        states = [first, second]
        for n, pair in enumerate(edges(encoding)):
            x, y = (
                run(self.nodes[n][side][edge.op][edge.input], states[edge.input])
                for side, edge in zip(SIDES, pair, strict=True)
            )
            states.append(x + y if keep is None else x * keep[2 * n] + y * keep[2 * n + 1])  # (N, C, H', W')
        given = loose_ends(encoding)
        for state, halve in enumerate(self.halve):
            if state in given:
                states[state] = run(halve, states[state])
        return (second if self.halves_first else s1), self.join(states, given)


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights; each row of a join as if it were a convolution of its own."""
    stacked.initialise(module)
    for layer in module.modules():
        if isinstance(layer, Join):
            nn.init.kaiming_normal_(layer.weight.flatten(0, 1))
