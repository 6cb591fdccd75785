"""How networks of each space are put together: one table of what is not the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from models import darts, enas, loose_supernet, mixture, nao, staged
from models.heads import HEADS, HeadBuilder
from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stack import FITTING
from models.stacked_cost import Part
from ops.genotype import Genotype

Planner = Callable[[NetworkSpec, Genotype | None], tuple[CellPlan, ...]]


@dataclass(frozen=True)
class Structure:
    """The parts of a network of one space.

    ``stems``: those that fit, for retraining and search on small images, then for both on large ones. ``plan``: the
    cells, of a genotype, or of the supernet where there is none. ``cell``: a cell of the chosen network, by its plan,
    the shape and its genotype. ``shared_cell``: one of the supernet, which holds all operations. Cells take
    ``(s0, s1, encoding, keep=, through=)`` and give the two states that the next one reads; see models.cell.
    ``initialise``: gives all layers fresh weights. ``heads``: those that the space has in place of the common ones.
    ``shared_key``: where the supernet keeps the weight that a chosen network has under a key of a cell, None where
    their weights are not the same ones. ``search_drop_path``: that of a search at the end of its ramp, unless told.
    ``parts``: layers of a cell of the chosen network, by which it is counted; None where models.staged_cost counts it.
    """

    stems: tuple[str, str, str, str]
    plan: Planner
    cell: Callable[[CellPlan, NetworkSpec, Genotype], nn.Module]
    shared_cell: Callable[[CellPlan, NetworkSpec], nn.Module]
    initialise: Callable[[nn.Module], None]
    heads: Mapping[str, HeadBuilder] = field(default_factory=dict)
    shared_key: Callable[[list[str], tuple[int, ...]], list[str]] | None = None
    search_drop_path: float = 0.35
    parts: Callable[[CellPlan, NetworkSpec, Genotype], Iterable[Part]] | None = None

    def stem(self, large: bool, in_search: bool) -> str:
        """The name of the stem for images of this kind, unless the user names another."""
        return self.stems[2 * large + in_search]

    def head(self, name: str) -> HeadBuilder:
        """What builds the head of this name, and its auxiliary heads."""
        return self.heads.get(name) or HEADS[name]


STRUCTURES = {
    "slnas": Structure(
        stems=staged.STEMS,
        plan=staged.plan,
        cell=staged.chosen_cell,
        shared_cell=staged.shared_cell,
        initialise=staged.initialise,
        shared_key=staged.shared_key,
    ),
    "enas": Structure(
        stems=FITTING,
        plan=enas.plan,
        cell=enas.chosen_cell,
        shared_cell=enas.shared_cell,
        initialise=loose_supernet.initialise,
        heads={"classify": enas.classify},
        search_drop_path=0.0,
        parts=enas.parts,
    ),
    "darts": Structure(
        stems=FITTING,
        plan=darts.plan,
        cell=darts.chosen_cell,
        shared_cell=mixture.shared_cell,
        initialise=darts.initialise,
        heads={"classify": darts.classify},
        parts=darts.parts,
    ),
    "nao": Structure(
        stems=FITTING,
        plan=nao.plan,
        cell=nao.chosen_cell,
        shared_cell=nao.shared_cell,
        initialise=loose_supernet.initialise,
        heads={"classify": nao.classify},
        parts=nao.parts,
    ),
}
