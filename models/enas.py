"""The supernet of ENAS: weights of its own for each input (docs/spaces.md, section 24)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import loose_ends as chosen
from models.loose_ends import calibration
from models.plan import SIDES, CellPlan
from models.spec import NetworkSpec
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

    All operations have stride 1: unlike in the chosen network, a reduction first makes both of its states from the
    newer one, at half the size, as published.
    """

    def __init__(self, plan: CellPlan, spec: NetworkSpec) -> None:
        super().__init__()
        self.plan, width, space = plan, plan.width, spec.search_space
        older, newer = plan.reads
        if plan.is_reduction:
            self.pre0 = reduce(newer, width, affine=True)
            self.pre1 = reduce(newer, width, affine=True, rectified=False)
        else:
            self.pre0 = calibration(older, width, larger=plan.halved)
            self.pre1 = calibration(newer, width, larger=False)

        def edge(inputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList(STACKED[name](width, 1, True) for _input in range(inputs)) for name in space.operations
            )

        self.nodes = nn.ModuleList(nn.ModuleDict({side: edge(n + 2) for side in SIDES}) for n in range(space.nodes))
        self.join = Join(space.nodes + 2, width)

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding,
        *,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1, or what is made of it beforehand, and the output.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``keep``: drop-path factors of all
        edges, (2 * nodes, N, 1, 1, 1), or None.
        """
        # Both (N, C, H, W), C = plan.width, and half the size in a reduction, which does not read the older state.
        first = self.pre0(s1 if self.plan.is_reduction else s0)
        second = self.pre1(s1)
        states = [first, second]
        for n, pair in enumerate(edges(encoding)):
            x, y = (
                self.nodes[n][side][edge.op][edge.input](states[edge.input])
                for side, edge in zip(SIDES, pair, strict=True)
            )
            states.append(x + y if keep is None else x * keep[2 * n] + y * keep[2 * n + 1])  # (N, C, H', W')
        output = self.join(states, loose_ends(encoding))  # (N, C, H', W')
        return (second if self.plan.is_reduction else s1), output


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights; each row of a join as if it were a convolution of its own."""
    chosen.initialise(module)
    for layer in module.modules():
        if isinstance(layer, Join):
            nn.init.kaiming_normal_(layer.weight.flatten(0, 1))
