"""Cells of DARTS' supernet: every node reads every state, through all operations (docs/method.md, section 22)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.cell import Through
from models.darts import StackedCell, dropped
from models.plan import CellPlan
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.layout import concatenate
from ops.separable import SEPARABLE
from ops.space import DARTS, edges

COLUMNS = ("none", *DARTS.operations)  # of a table of weights
POOLS = ("max_pool_3x3", "avg_pool_3x3")
EDGES = DARTS.nodes * (DARTS.nodes + 3) // 2  # rows: node n reads n + 2 states


@dataclass(frozen=True)
class Mixture:
    """Stands for a genotype: the weights with which edges of normal cells and of reductions mix all operations.

    (14, 8) each, the row of input i of node n being n (n + 3) / 2 + i, the columns :data:`COLUMNS`.
    """

    normal: Tensor
    reduction: Tensor

    def cell(self, _stage: int, _block: int, is_reduction: bool) -> Tensor:
        """The table that a cell uses."""
        return self.reduction if is_reduction else self.normal


class MixedCell(StackedCell):
    """A cell that holds all operations of all edges, and runs either one path through them or their mixture.

    ``edges.{node}.{input}.{operation}`` are those with weights. Pools are followed by a batch norm, and no batch norm
    scales or shifts; so what a pool makes of a state is the same for all nodes: ``pools.{state}.{operation}``.
    """

    def __init__(self, plan: CellPlan) -> None:
        super().__init__(plan, affine=False)
        states = range(DARTS.nodes + 1)  # the last node is read by none
        self.pools = nn.ModuleList(nn.ModuleDict({name: self._pool(name, s) for name in POOLS}) for s in states)
        self.edges = nn.ModuleList(
            nn.ModuleList(self._edge(state) for state in range(n + 2)) for n in range(DARTS.nodes)
        )

    def _pool(self, name: str, state: int) -> nn.Sequential:
        norm = nn.BatchNorm2d(self.plan.width, affine=False)
        return nn.Sequential(SEPARABLE[name](self.plan.width, self.stride(state), False), norm)

    def _edge(self, state: int) -> nn.ModuleDict:
        names = (name for name in DARTS.operations if name not in POOLS)
        return nn.ModuleDict({name: SEPARABLE[name](self.plan.width, self.stride(state), False) for name in names})

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        encoding: Encoding | Tensor,
        *,
        keep: Tensor | None = None,
        through: Through | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turn the states (s0, s1) into the next ones, s1 and the output of this cell.

        s0 (N, C0, H, W), twice as large where ``plan.halved``, and s1 (N, C1, H, W). ``encoding``: a path, or the
        weights (14, 8) of the mixture. ``keep``: drop-path factors of a path, (2 * nodes, N, 1, 1, 1), or None.
        ``through``: applies an operation to a state, where it may be known already.
        """
        run = through or (lambda operation, x: operation(x))
        states = [run(self.pre0, s0), run(self.pre1, s1)]  # (N, C, H, W) each, C = plan.width
        if isinstance(encoding, Tensor):
            self._mix(states, encoding)
        else:
            self._follow(states, encoding, keep)
        return s1, concatenate(states[2:])  # (N, 4C, H, W), in a reduction (N, 4C, H/2, W/2)

    def _follow(self, states: list[Tensor], encoding: Encoding, keep: Tensor | None) -> None:
        """Append the nodes of one path to the states."""
        for n, pair in enumerate(edges(encoding)):
            layers = [self._layer(n, edge.input, DARTS.operations[edge.op]) for edge in pair]
            terms = [layer(states[edge.input]) for edge, layer in zip(pair, layers, strict=True)]
            if keep is not None:
                terms = [dropped(x, layers[side], keep[2 * n + side]) for side, x in enumerate(terms)]
            states.append(terms[0] + terms[1])

    def _layer(self, n: int, state: int, name: str) -> nn.Module:
        return self.pools[state][name] if name in POOLS else self.edges[n][state][name]

    def _mix(self, states: list[Tensor], table: Tensor) -> None:
        """Append the nodes of the mixture to the states: sums over their inputs and operations."""
        weights = iter(table.flatten().unbind())
        for n in range(DARTS.nodes):
            total: Tensor | None = None
            for state in range(n + 2):
                next(weights)  # of "none", which adds nothing
                for name in DARTS.operations:
                    term = next(weights) * self._layer(n, state, name)(states[state])
                    total = term if total is None else total + term
            states.append(total)


def shared_cell(plan: CellPlan, _spec: NetworkSpec) -> MixedCell:
    """A cell of the supernet."""
    return MixedCell(plan)
