"""Recipes of a search: what its ``--recipe`` stands for, each part of which is a flag too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchRecipe:
    """Defaults of flags of the same names; ``published`` is the method as it was published."""

    canonical: bool = False
    score: str | None = None
    controller_lr: float = 3.5e-5
    controller_samples: int = 1
    entropy_weight: float = 1e-4
    operation_bound: float = 1.1 / 2.5
    connection_bound: float = 1.1
    controller_temperature: float = 5.0
    controller_optimizer: str = "ranger"
    advantage: str = "baseline"
    entropy_in_loss: float = 0.0
    ppo_epochs: int = 1


SEARCH_RECIPES = {
    "published": SearchRecipe(),
    "tuned": SearchRecipe(
        canonical=True,
        score="loss",
        controller_lr=1e-3,
        controller_samples=10,
        entropy_weight=0.0,
        operation_bound=5.0,
        connection_bound=2.5,
        controller_temperature=1.0,
        controller_optimizer="adam",
        advantage="normalised",
        entropy_in_loss=1e-3,
    ),
}
