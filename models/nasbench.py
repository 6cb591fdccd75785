"""Networks of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326): stages of one cell, residual blocks between them.

A cell has four states, each of which sums one operation on every state before it (docs/spaces.md, section 28).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.heads import Features, PooledLinear
from models.parts import NEWER, Part
from models.plan import CellPlan
from models.spec import NetworkSpec
from ops.encodings import Encoding
from ops.genotype import Genotype
from ops.layers import pointwise
from ops.registry import STACKED
from ops.space import NASBENCH201

ZERO = NASBENCH201.operations.index("none")  # an edge of zeros: nothing is computed of it


class Cell(nn.Module):
    """A cell; ``build_edge(edge)`` makes the module of an edge: the operation of its number, or a list of all."""

    def __init__(self, plan: CellPlan, build_edge: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.plan = plan
        self.edges = nn.ModuleList(build_edge(edge) for edge in range(len(NASBENCH201.wires)))

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn s1 (N, C, H, W) into the output of the cell, of the same shape, and hand s1 on as the older state.

        s0 is not read, as cells of this space have one input. ``keep``: drop-path factors, (edges, N, 1, 1, 1), or
        None.
        """
        states = [s1]  # (N, C, H, W) each
        for target in range(1, 1 + max(target for _, target in NASBENCH201.wires)):
            terms = []
            for edge, (source, enters) in enumerate(NASBENCH201.wires):
                if enters != target or encoding[edge] == ZERO:
                    continue
                held = self.edges[edge]
                operation = held[encoding[edge]] if isinstance(held, nn.ModuleList) else held
                x = operation(states[source])
                terms.append(x if keep is None else x * keep[edge])
            # A state that no operation feeds is zero.
            states.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(s1))
        return s1, states[-1]


class Residual(nn.Module):
    """Halve the map and double the channels: two 3x3 convolutions, beside an average and a 1x1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, out_channels, 3, 2, 1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.second = STACKED["nor_conv_3x3"](out_channels, 1, True)
        self.shortcut = pointwise(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 2 C, ceil(H/2), ceil(W/2))."""
        # The last pixels of an odd side are averaged alone, where the convolution reads them too.
        halved = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)  # (N, C, ceil(H/2), ceil(W/2))
        return self.shortcut(halved) + self.second(self.first(x))


class ResidualCell(nn.Module):
    """A residual block in the place of a cell; it is the same for all genotypes."""

    def __init__(self, plan: CellPlan) -> None:
        super().__init__()
        self.plan, self.block = plan, Residual(plan.width, plan.out_width)

    def forward(
        self, s0: Tensor, s1: Tensor, encoding: Encoding, *, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn s1 (N, C, H, W) into (N, 2 C, H/2, W/2), twice: the older state of the next cell is not read."""
        x = self.block(s1)
        return x, x


def chosen_cell(plan: CellPlan, _spec: NetworkSpec, genotype: Genotype) -> nn.Module:
    """A cell in which every edge is the one operation that the genotype names: ``edges.{edge}``."""
    if plan.is_reduction:
        return ResidualCell(plan)
    [encoding] = genotype.cells
    return Cell(plan, lambda edge: _operation(plan, encoding[edge]))


def shared_cell(plan: CellPlan, _spec: NetworkSpec) -> nn.Module:
    """A cell in which every edge holds all operations, ``edges.{edge}.{operation}``."""
    if plan.is_reduction:
        return ResidualCell(plan)
    operations = range(len(NASBENCH201.operations))
    return Cell(plan, lambda _edge: nn.ModuleList(_operation(plan, op) for op in operations))


def shared_key(parts: list[str], encoding: tuple[int, ...]) -> list[str]:
    """The key in the supernet's cell of a key in the chosen one's: an edge gets the number of its operation."""
    return parts if parts[0] != "edges" else [*parts[:2], str(encoding[int(parts[1])]), *parts[2:]]


def _operation(plan: CellPlan, op: int) -> nn.Module:
    return nn.Identity() if op == ZERO else STACKED[NASBENCH201.operations[op]](plan.width, 1, True)


def parts(plan: CellPlan, _spec: NetworkSpec, genotype: Genotype) -> Iterator[Part]:
    """The layers of a cell of the network of a genotype, by which it is counted."""
    if plan.is_reduction:
        yield Part(Residual, (plan.width, plan.out_width), plan.width, NEWER)
        return
    [encoding] = genotype.cells
    for op in encoding:
        if op != ZERO:
            yield Part(STACKED[NASBENCH201.operations[op]], (plan.width, 1, True), plan.width, NEWER)


class NormedHead(PooledLinear):
    """Batch norm and ReLU before the average over the map and the linear map."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width, outputs, bias=True)
        self.bn = nn.BatchNorm2d(width)

    def pooled(self, features: Features) -> Tensor:
        """Turn features, of which the last are (N, C, h, w), into (N, C)."""
        return F.relu(self.bn(features.last)).mean(dim=(2, 3))
