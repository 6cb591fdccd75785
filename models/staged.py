"""Our own networks: stages of normal cells, each ended by a reduction (docs/method.md, section 2)."""

from __future__ import annotations

from torch import nn

from models.cell import Cell
from models.plan import CellPlan, plan_cells
from models.spec import NetworkSpec
from ops.genotype import Genotype
from ops.registry import build_operation

STEMS = ("full", "quarter", "quarter_blur", "quarter")  # small images, retrained and searched; large ones


def plan(spec: NetworkSpec, _genotype: Genotype | None) -> tuple[CellPlan, ...]:
    """The cells of all stages, which are the same for every genotype."""
    return plan_cells(spec.blocks, spec.filters)


def chosen_cell(plan: CellPlan, spec: NetworkSpec, genotype: Genotype) -> Cell:
    """A cell in which every edge is the one operation that the genotype names."""
    encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)

    def edge(n: int, side: str) -> nn.Module:
        return _operation(plan, spec, spec.search_space.operations[encoding[4 * n + _place(side)]])

    return Cell(plan, spec.search_space, edge)


def shared_cell(plan: CellPlan, spec: NetworkSpec) -> Cell:
    """A cell in which every edge holds all operations of the space, of which a genotype picks one."""
    names = spec.search_space.operations
    return Cell(plan, spec.search_space, lambda _n, _side: nn.ModuleList(_operation(plan, spec, op) for op in names))


def shared_key(parts: list[str], encoding: tuple[int, ...]) -> list[str]:
    """The key in the supernet's cell of a key in the chosen one's: ``nodes.{n}.{x,y}`` gets the operation's number."""
    if parts[0] != "nodes":
        return parts
    return [*parts[:3], str(encoding[4 * int(parts[1]) + _place(parts[2])]), *parts[3:]]


def _place(side: str) -> int:
    """Where the operation of an edge stands among the four integers of its node."""
    return 1 if side == "x" else 3


def _operation(plan: CellPlan, spec: NetworkSpec, name: str) -> nn.Module:
    stride = 2 if plan.is_reduction else 1
    return build_operation(name, plan.width, plan.out_width, stride=stride, antialias=spec.antialias)


def initialise(module: nn.Module) -> None:
    """Give all layers fresh weights.

    Convolutions kaiming-normal fan_out, batch norms 1 and 0, linear maps normal(0, 0.01).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
