"""Recipes of a search: what its ``--recipe`` stands for, each part of which is a flag too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchRecipe:
    """Defaults of flags of the same names; ``published`` is the method as it was published."""

    canonical: bool = False
    warmup_share: float = 0.0  # of the epochs, for --warmup_epochs
    batch_size: int = 96
    epochs: int = 150
    child_out_filters: int = 48
    child_use_aux_heads: bool = True
    cutout: int | None = None
    reward_fraction: float = 0.2
    child_lr_max: float = 0.025
    child_lr_min: float = 0.0
    drop_prob: float | None = None
    paths: int = 1
    path_sampling: str = "policy"
    bn_affine: bool = True
    grad_clip: float | None = None
    lr_by_step: bool = False
    lr_warmup_epochs: int = 0
    average_last: int = 1
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
        warmup_share=0.5,
        child_lr_max=0.1,
        drop_prob=0.0,
        grad_clip=5.0,
        lr_by_step=True,
        lr_warmup_epochs=1,
        average_last=5,
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
    "darts": SearchRecipe(  # published for --searcher darts (docs/method.md, section 23)
        batch_size=64,
        epochs=50,
        child_out_filters=16,
        child_use_aux_heads=False,
        cutout=0,
        reward_fraction=0.5,
        child_lr_min=0.001,
        drop_prob=0.0,
        bn_affine=False,
        grad_clip=5.0,
    ),
}
