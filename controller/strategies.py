"""The search strategies, by the name that ``--searcher`` takes. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from controller.evolution import Evolution
from controller.policy import Controller
from controller.random_search import RandomSearch
from controller.reinforce import Reinforce
from controller.space import Fits
from ops.genotype import Genotype


class Strategy(Protocol):
    """Proposes genotypes and learns from their scores. All randomness comes from the generators passed in.

    ``fits``: genotypes for which it is false are drawn again; NothingFitsError where none is met.
    """

    def propose(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """``n`` genotypes whose scores ``learn`` will be told."""

    def paths(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """``n`` genotypes to train shared weights on or to rank: nothing is learned from them."""

    def learn(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the proposed genotypes, in percent; returns what to log, ``reward`` at least."""

    def likely(self) -> Genotype | None:
        """The genotype that the strategy favours now, to look at; None if it favours none."""

    def has_moved(self) -> bool:
        """Whether anything was learned since the start."""

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""


def _rl(num_cells: int, sharing: str, **options: Any) -> Reinforce:
    return Reinforce(Controller(num_cells, sharing), **options)


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "rl": _rl,
    "random": lambda num_cells, sharing, **_options: RandomSearch(num_cells, sharing),
    "evolution": lambda num_cells, sharing, **_options: Evolution(num_cells, sharing),
}


def make_strategy(name: str, num_cells: int, sharing: str, **options: Any) -> Strategy:
    """A strategy for genotypes of ``num_cells`` encodings. ``options``: those of Reinforce, for ``rl``."""
    return STRATEGIES[name](num_cells, sharing, **options)
