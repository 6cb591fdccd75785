"""Cells of DARTS' supernet: every node reads every state, through all operations (docs/spaces.md, section 22)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stack import StackedCell, entry
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.registry import STACKED
from ops.space import DARTS, Edge

COLUMNS = ("none", *DARTS.operations)  # of a table of weights
POOLS = ("max_pool_3x3", "avg_pool_3x3")


class MixedCell(StackedCell):
    """A cell that holds all operations of all edges, and runs either one path through them or their mixture.

    ``edges.{node}.{input}.{operation}`` are those with weights. Pools are followed by a batch norm, and no batch norm
    scales or shifts; so what a pool makes of a state is the same for all nodes: ``pools.{state}.{operation}``.
    """

    def __init__(self, plan: CellPlan, _spec: NetworkSpec) -> None:
        super().__init__(plan)
        self.pre0 = entry(plan.reads[0], plan.width, plan.halved, affine=False)
        self.pre1 = entry(plan.reads[1], plan.width, False, affine=False)
        states = range(DARTS.nodes + 1)  # the last node is read by none
        self.pools = nn.ModuleList(nn.ModuleDict({name: self._pool(name, s) for name in POOLS}) for s in states)
        self.edges = nn.ModuleList(
            nn.ModuleList(self._edge(state) for state in range(n + 2)) for n in range(DARTS.nodes)
        )

    def _pool(self, name: str, state: int) -> nn.Sequential:
        norm = nn.BatchNorm2d(self.plan.width, affine=False)
        return nn.Sequential(STACKED[name](self.plan.width, self.plan.stride(state), False), norm)

    def _edge(self, state: int) -> nn.ModuleDict:
        names = (name for name in DARTS.operations if name not in POOLS)
        return nn.ModuleDict({name: STACKED[name](self.plan.width, self.plan.stride(state), False) for name in names})

    def layer(self, n: int, side: int, edge: Edge) -> nn.Module:
        """The operation of an edge of node n."""
        name = DARTS.operations[edge.op]
        return self.pools[edge.input][name] if name in POOLS else self.edges[n][edge.input][name]

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding | Tensor, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones, s1 and the output of this cell.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``encoding``: a path, or the
        weights (14, 8) of the mixture, the row of input i of node n being n (n + 3) / 2 + i, the columns COLUMNS.
        """
        states = [self.pre0(s0), self.pre1(s1)]  # (N, C, H, W) each, C = plan.width
        if isinstance(encoding, Tensor):
            self._mix(states, encoding)
        else:
            self.follow(states, encoding, keep)
        return s1, concatenate(states[2:])  # (N, 4C, H, W), in a reduction (N, 4C, H/2, W/2)

    def _mix(self, states: list[Tensor], table: Tensor) -> None:
        """Append the nodes of the mixture to the states: sums over their inputs and operations.

        The sums grow in place, and norms apply the weight of what they end: no term is ever a tensor of its own.
        """
        width = self.plan.width
        single = iter(table.unbind())  # (8,) each
        by_channel = iter(table.unsqueeze(2).expand(-1, -1, width).contiguous().unbind())  # (8, C) each
        read = [self._read(0, states[0]), self._read(1, states[1])]
        for n in range(DARTS.nodes):
            terms: list[Tensor] = []
            scaled: list[tuple[Tensor, Tensor]] = []
            for state, edge in enumerate(self.edges[n]):
                weights = dict(zip(COLUMNS, next(single).unbind(), strict=True))  # "none" adds nothing
                scales = dict(zip(COLUMNS, next(by_channel).unbind(), strict=True))
                of = read[state]
                scaled += [(weights[name], of.pooled[name]) for name in POOLS]
                for name, operation in edge.items():
                    if isinstance(operation, nn.Identity):
                        scaled.append((weights[name], of.state))
                    else:
                        terms.append(_weighed(operation, of.rectified, scales[name]))
            states.append(_sum(terms, scaled))  # (N, C, H, W), in a reduction (N, C, H/2, W/2)
            if n < DARTS.nodes - 1:
                read.append(self._read(n + 2, states[-1]))

    def _read(self, number: int, state: Tensor) -> _Read:
        """What the operations of all nodes read of a state."""
        pooled = {name: pool(state) for name, pool in self.pools[number].items()}
        return _Read(state, F.relu(state), pooled)


class _Read(NamedTuple):
    """A state, its ReLU, which all convolutions begin with, and its pools, (N, C, H, W) or smaller in a reduction."""

    state: Tensor
    rectified: Tensor
    pooled: dict[str, Tensor]


def _weighed(operation: nn.Sequential, rectified: Tensor, scale: Tensor) -> Tensor:
    """The operation of a state whose ReLU is given, times its weight, which ``scale`` repeats for each channel.

    The weight takes the place of the scale that the batch norm at the end does not have.
    """
    *layers, norm = operation
    x = rectified
    for layer in layers:
        x = layer(x)
    momentum = norm.momentum
    if norm.training and norm.track_running_stats:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / float(norm.num_batches_tracked) if momentum is None else momentum
    uses_batch = norm.training or norm.running_mean is None
    return F.batch_norm(x, norm.running_mean, norm.running_var, scale, None, uses_batch, momentum or 0.0, norm.eps)


def _sum(terms: list[Tensor], scaled: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of all terms, and of the products of a number and a map."""
    total, *others = terms
    for term in others:
        total = total.add_(term)
    for weight, x in scaled:
        total = total.addcmul_(x, weight)
    return total
