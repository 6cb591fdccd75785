"""The supernet of ENAS: weights of its own for each input (docs/spaces.md, section 24)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import stack
from models.plan import SIDES, CellPlan
from models.spec import NetworkSpec
from models.stack import StackedCell, entry
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import Edge, loose_ends
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


class SharedCell(StackedCell):
    """A cell that holds all operations for every input: ``nodes.{n}.{x,y}.{op}.{input}``; an encoding picks among them.

    All operations have stride 1: unlike in the chosen network, a reduction first makes both of its states from the
    newer one, at half the size, as published.
    """

    def __init__(self, plan: CellPlan, spec: NetworkSpec) -> None:
        super().__init__(plan)
        (older, newer), width, space = plan.reads, plan.width, spec.search_space
        if plan.is_reduction:
            self.pre0 = reduce(newer, width, affine=True)
            self.pre1 = reduce(newer, width, affine=True, rectified=False)
        else:
            self.pre0 = entry(older, width, plan.halved, always=False)
            self.pre1 = entry(newer, width, False, always=False)

        def edge(inputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList(STACKED[name](width, 1, True) for _input in range(inputs)) for name in space.operations
            )

        self.nodes = nn.ModuleList(nn.ModuleDict({side: edge(n + 2) for side in SIDES}) for n in range(space.nodes))
        self.join = Join(space.nodes + 2, width)

    def layer(self, n: int, side: int, edge: Edge) -> nn.Module:
        """The operation of an edge of node n, which has weights of its own for each input."""
        return self.nodes[n][SIDES[side]][edge.op][edge.input]

    def stays(self, layer: nn.Module, edge: Edge) -> bool:
        """Whether drop path leaves an edge as it is: none."""
        return False

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1, or what is made of it beforehand, and the output.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W).
        """
        # Both (N, C, H, W), C = plan.width, and half the size in a reduction, which does not read the older state.
        states = self.follow([self.pre0(s1 if self.plan.is_reduction else s0), self.pre1(s1)], encoding, keep)
        output = self.join(states, loose_ends(encoding))  # (N, C, H', W')
        return (states[1] if self.plan.is_reduction else s1), output


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights; each row of a join as if it were a convolution of its own."""
    stack.initialise(module)
    for layer in module.modules():
        if isinstance(layer, Join):
            nn.init.kaiming_normal_(layer.weight.flatten(0, 1))
