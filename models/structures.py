"""How networks of each space are put together: one table of what is not the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from models import enas, mixture, nasbench, stack, staged
from models.heads import HEADS, HeadBuilder, classify, classify_stack
from models.parts import Part
from models.plan import CellPlan, plan_darts, plan_enas, plan_nao, plan_stages
from models.spec import NetworkSpec
from ops.genotype import Genotype

Planner = Callable[[NetworkSpec, Genotype | None], tuple[CellPlan, ...]]


@dataclass(frozen=True)
class Structure:
    """The parts of a network of one space.

    ``stems``: those that fit, for retraining and search on small images, then for both on large ones. ``plan``: the
    cells, of a genotype, or of the supernet where there is none. ``cell``: a cell of the chosen network, by its plan,
    the shape and its genotype. ``parts``: its layers, by which it is counted. ``initialise``: gives layers fresh
    weights other than torch's. ``shared_cell``: a cell of the supernet, which holds all operations, None where there is
    none. Cells take ``(s0, s1, encoding, keep=)`` and give the two states that the next one reads; see models.staged.
    ``heads``: those that the space has in place of the common ones. ``shared_key``: where the supernet keeps the weight
    that a chosen network has under a key of a cell, None where their weights are not the same ones.
    ``search_drop_path``: that of a search at the end of its ramp, unless the user gives one.
    """

    stems: tuple[str, str, str, str]
    plan: Planner
    cell: Callable[[CellPlan, NetworkSpec, Genotype], nn.Module]
    parts: Callable[[CellPlan, NetworkSpec, Genotype], Iterable[Part]]
    initialise: Callable[[nn.Module], None] = lambda _network: None
    shared_cell: Callable[[CellPlan, NetworkSpec], nn.Module] | None = None
    heads: Mapping[str, HeadBuilder] = field(default_factory=dict)
    shared_key: Callable[[list[str], tuple[int, ...]], list[str]] | None = None
    search_drop_path: float = 0.35

    def stem(self, large: bool, in_search: bool) -> str:
        """The name of the stem for images of this kind, unless the user names another."""
        return self.stems[2 * large + in_search]

    def head(self, name: str) -> HeadBuilder:
        """What builds the head of this name, and its auxiliary heads."""
        return self.heads.get(name) or HEADS[name]


FITTING = ("plain", "plain", "imagenet", "imagenet")  # stems of a stack

# A new space is a line here, beside its line in ops.space.SPACES.
STRUCTURES = {
    "slnas": Structure(
        stems=staged.STEMS,
        plan=plan_stages,
        cell=staged.chosen_cell,
        shared_cell=staged.shared_cell,
        parts=staged.parts,
        initialise=staged.initialise,
        shared_key=staged.shared_key,
    ),
    "enas": Structure(
        stems=FITTING,
        plan=plan_enas,
        cell=stack.LooseCell,
        shared_cell=enas.SharedCell,
        parts=stack.parts,
        initialise=enas.initialise,
        # The published classifier has no bias and reads ReLU of the last map.
        heads={"classify": partial(classify_stack, bias=False, rectified=True)},
        # Its shared weights are trained without drop path.
        search_drop_path=0.0,
    ),
    "darts": Structure(
        stems=FITTING,
        plan=plan_darts,
        cell=stack.ChosenCell,
        shared_cell=mixture.MixedCell,
        parts=stack.parts,
        # On large images the published head leaves out its last batch norm.
        heads={"classify": partial(classify_stack, both_norms=False, aux_in_place=True)},
    ),
    "nao": Structure(
        stems=FITTING,
        plan=plan_nao,
        cell=stack.LooseCell,
        parts=stack.parts,
        initialise=stack.initialise,
        heads={"classify": classify_stack},
    ),
    "nasbench201": Structure(
        stems=("single",) * 4,
        plan=partial(plan_stages, ends=False),
        cell=nasbench.chosen_cell,
        shared_cell=nasbench.shared_cell,
        parts=nasbench.parts,
        heads={"classify": partial(classify, head=nasbench.NormedHead)},
        shared_key=nasbench.shared_key,
        search_drop_path=0.0,
    ),
}
