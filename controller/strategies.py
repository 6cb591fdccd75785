"""The search strategies, by the name that ``--searcher`` takes. A new one is one file and one line here."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from controller.enas_policy import EnasController
from controller.evolution import Evolution
from controller.nao.learning import PUBLISHED
from controller.nao.strategy import Nao
from controller.policy import Controller, LogitScale, Policy
from controller.position_policy import PositionPolicy
from controller.positions import CellPositions, Positions
from controller.predictor import Predictor
from controller.random_search import RandomSearch
from controller.regularized_evolution import RegularizedEvolution
from controller.reinforce import Reinforce
from controller.relaxation import Relaxation, relax
from controller.sampling import Fits
from ops.genotype import Genotype
from ops.space import CellSpace


class Strategy(Protocol):
    """Proposes genotypes and learns from their scores. All randomness comes from the generators passed in.

    ``fits``: genotypes for which it is false are drawn again; NothingFitsError where none is met. A strategy may have
    a method ``finalists``, called as ``sample`` is, that gives what is ranked at the end, and ``report(best)``, which
    says of the best of these, best first, and of itself what belongs into the result.
    """

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Propose ``n`` genotypes whose scores ``tell`` will be told."""

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Draw ``n`` genotypes to train shared weights on or to rank: nothing is learned from them."""

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores, in percent, of what the last ``ask`` gave; returns what to log, ``reward`` at least."""

    def argmax(self) -> Genotype | None:
        """The genotype that the strategy favours now, to look at; None if it favours none."""

    def has_moved(self) -> bool:
        """Whether anything was learned since the start."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly, as plain tensors and values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""


# By the name that --controller takes, the policy that REINFORCE teaches.
CONTROLLERS: dict[str, Callable[..., Policy]] = {"slnas": Controller, "enas": EnasController}


def _rl(
    positions: Positions,
    *,
    controller: str = "slnas",
    logit_scale: LogitScale | None = None,
    nao: object = None,
    **options: Any,
) -> Reinforce:
    del nao  # each strategy leaves the options of the others
    bounds = {} if logit_scale is None else {"logit_scale": logit_scale}
    if not isinstance(getattr(positions, "space", None), CellSpace):  # the controllers of cells choose inputs first
        return Reinforce(PositionPolicy(positions, **bounds), **options)
    make = CONTROLLERS[controller]
    return Reinforce(make(positions.num_cells, positions.sharing, positions.space.name, **bounds), **options)


# (positions, with the options of all strategies as keywords) -> strategy
STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "rl": _rl,
    "random": lambda positions, **_options: RandomSearch(positions),
    "evolution": lambda positions, **_options: Evolution(positions),
    "regularized_evolution": lambda positions, **_options: RegularizedEvolution(positions),
    "predictor": lambda positions, **_options: Predictor(positions),
    "nao": lambda positions, nao=PUBLISHED, **_options: Nao(positions, nao),
}
# Those that gradients move, and no scores: another protocol, that of controller.relaxation.Relaxation.
GRADIENT: dict[str, Callable[..., Relaxation]] = {"darts": relax}
SEARCHERS: Mapping[str, object] = ChainMap(GRADIENT, STRATEGIES)  # a view, so that a new entry is a choice


def make_strategy(name: str, num_cells: int, sharing: str, space: str = "slnas", **options: Any) -> Strategy:
    """Build the strategy of a name for genotypes of ``num_cells`` encodings.

    ``options``: for ``rl``, those of Reinforce, the name of the ``controller`` and its ``logit_scale``; for ``nao``,
    its settings under that name.
    """
    return STRATEGIES[name](CellPositions(num_cells, sharing, space), **options)
