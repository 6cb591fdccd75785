"""The supernet of the ENAS micro space: weights of their own for each input (docs/method.md, section 24)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import loose_ends as stacked
from models.cell import SIDES, Through
from models.loose_ends import calibration
from models.plan import CellPlan
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.plain import PLAIN
from ops.separable import reduce
from ops.space import Space, edges, loose_ends


class Edge(nn.ModuleList):
    """One side of a node: ``{op}.{input}`` is an operation as it is for an input that the node may read.

    Operations without weights are the same for all inputs, ``{op}.0``.
    """

    def __init__(self, names: tuple[str, ...], inputs: int, width: int) -> None:
        def for_each_input(name: str) -> nn.ModuleList:
            first = PLAIN[name](width, 1, True)
            has_weights = any(True for _ in first.parameters())
            return nn.ModuleList([first, *(PLAIN[name](width, 1, True) for _ in range(1, inputs) if has_weights)])

        super().__init__(for_each_input(name) for name in names)

    def operation(self, op: int, state: int) -> nn.Module:
        """The operation of this number with the weights for this input."""
        inputs = self[op]
        return inputs[state if len(inputs) > 1 else 0]


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
    """A cell that holds all operations: ``nodes.{n}.{x,y}.{op}.{input}``; an encoding picks those that run.

    All of them have stride 1: a reduction makes both of its states from the newer one beforehand, at half the size.
    """

    def __init__(self, plan: CellPlan, space: Space) -> None:
        super().__init__()
        self.plan = plan
        older, newer = plan.reads
        if plan.is_reduction:
            self.pre0 = reduce(newer, plan.width, affine=True)
            self.pre1 = reduce(newer, plan.width, affine=True, rectified=False)
        else:
            self.pre0 = calibration(older, plan.width, larger=plan.halved)
            self.pre1 = calibration(newer, plan.width, larger=False)
        self.nodes = nn.ModuleList(
            nn.ModuleDict({side: Edge(space.operations, n + 2, plan.width) for side in SIDES})
            for n in range(space.nodes)
        )
        self.join = Join(space.nodes + 2, plan.width)

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding,
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones: s1, in a reduction at half the size, and the output.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``keep``: drop-path factors of all
        edges, (2 * nodes, N, 1, 1, 1), or None. ``through``: see models.cell.
        """
        run = through or _apply
        s0 = run(self.pre0, s1 if self.plan.is_reduction else s0)  # (N, C, H, W), C = plan.width, in a reduction H / 2
        newer = run(self.pre1, s1)  # the same
        states = [s0, newer]
        for n, pair in enumerate(edges(encoding)):
            x, y = (
                run(self.nodes[n][side].operation(edge.op, edge.input), states[edge.input])
                for side, edge in zip(SIDES, pair, strict=True)
            )
            states.append(x + y if keep is None else x * keep[2 * n] + y * keep[2 * n + 1])  # (N, C, H, W)
        out = self.join(states, loose_ends(encoding))
        return (newer if self.plan.is_reduction else s1), out


def _apply(operation: nn.Module, x: Tensor) -> Tensor:
    return operation(x)


def shared_cell(plan: CellPlan, spec: NetworkSpec) -> SharedCell:
    """A cell of the supernet."""
    return SharedCell(plan, spec.search_space)


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights; each row of a join as if it were a convolution of its own."""
    stacked.initialise(module)
    for layer in module.modules():
        if isinstance(layer, Join):
            nn.init.kaiming_normal_(layer.weight.flatten(0, 1))
