"""Recipes: what ``--recipe`` of a retraining and of a search stands for, each part of which is a flag too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """The parts of a training recipe; 0 means off.

    ``augment``: policy; ``mixup``, ``cutmix``: beta parameters; ``random_erasing``: probability; ``ema``: decay of
    the weight average; ``lr_warmup_epochs``: linear; ``drop_path_until``: share of the epochs that its ramp takes;
    ``drop_path_by_layer``: cell i of n drops i / n of it; ``drop_path_by_step``: it grows with every step;
    ``dropout``: share of what the head reads; ``decay_norms``: weight decay on all parameters.
    """

    augment: str = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    random_erasing: float = 0.0
    ema: float = 0.0
    lr_warmup_epochs: int = 0
    nesterov: bool = False
    label_smoothing: float = 0.1
    drop_path_until: float = 0.7
    drop_path_by_layer: bool = False
    drop_path_by_step: bool = False
    dropout: float = 0.0
    decay_norms: bool = False


RECIPES = {
    "published": Recipe(),
    "strong": Recipe(
        augment="trivialaugment",
        mixup=0.2,
        cutmix=1.0,
        random_erasing=0.1,
        ema=0.999,
        lr_warmup_epochs=5,
        nesterov=True,
        drop_path_until=1.0,
    ),
    # Other methods, as they were published for CIFAR-10 (docs/recipes.md, section 26).
    "darts": Recipe(label_smoothing=0.0, drop_path_until=1.0, decay_norms=True),
    "enas": Recipe(
        nesterov=True,
        label_smoothing=0.0,
        drop_path_until=1.0,
        drop_path_by_layer=True,
        drop_path_by_step=True,
        dropout=0.2,
        decay_norms=True,
    ),
    "nao": Recipe(
        label_smoothing=0.0,
        drop_path_until=1.0,
        drop_path_by_layer=True,
        drop_path_by_step=True,
        dropout=0.4,
        decay_norms=True,
    ),
}

# The same for the three of them; what differs stands below.
_COSINE = {"lr_schedule": "cosine", "child_lr_max": 0.025, "child_lr_min": 0.0, "weight_decay": 3e-4, "drop_prob": 0.2}
_ALIKE = {"momentum": 0.9, "grad_clip": 5.0, "aux_weight": 0.4}

# What a recipe says of flags that have a default of their own, where they are not given.
OTHER_FLAGS: dict[str, dict[str, Any]] = {
    "darts": {**_ALIKE, **_COSINE, "epochs": 600, "batch_size": 96},
    "nao": {**_ALIKE, **_COSINE, "epochs": 600, "batch_size": 128},
    "enas": {
        **_ALIKE,
        "epochs": 630,  # 10 + 20 + 40 + 80 + 160 + 320: the sixth period ends with the training
        "batch_size": 144,
        "child_lr_max": 0.05,
        "child_lr_min": 1e-4,
        "lr_schedule": "cosine_restarts",
        "child_lr_T_0": 10,
        "child_lr_T_mul": 2,
        "weight_decay": 4e-4,  # 2e-4 times the sum of squares, whose gradient has twice that
        "drop_prob": 0.4,
    },
}


def choose_recipe(name: str, flags: Mapping[str, Any]) -> Recipe:
    """Take the recipe of that name, with those of its parts that ``flags`` gives a value other than None."""
    given = {f.name: flags[f.name] for f in fields(Recipe) if flags.get(f.name) is not None}
    return replace(RECIPES[name], **given)


# What a recipe says of the flags of a search that are not given; ``published`` is their defaults. Besides flags there
# are ``warmup_share``, of the epochs, for --warmup_epochs, and ``positions``: what differs where a small controller
# chooses an option at each of a row of positions.
SEARCH_RECIPES: dict[str, dict[str, Any]] = {
    "published": {},
    "tuned": {
        "canonical": True,
        "warmup_share": 0.5,
        "child_lr_max": 0.1,
        "drop_prob": 0.0,
        "grad_clip": 5.0,
        "lr_by_step": True,
        "lr_warmup_epochs": 1,
        "score": "loss",
        "controller_lr": 1e-3,
        "controller_samples": 10,
        "entropy_weight": 0.0,
        "operation_bound": 5.0,
        "connection_bound": 2.5,
        "controller_temperature": 1.0,
        "controller_optimizer": "adam",
        "advantage": "normalised",
        "entropy_in_loss": 1e-3,
        # Chosen on a table of trained networks (docs/results.md); at this rate the controller of cells saturates.
        "positions": {"controller_lr": 1e-2, "entropy_in_loss": 1e-1},
        "rank_by": "zero_cost",
        "finals": 9,
    },
    "halving": {  # no supernet: uniform candidates, ranked for nothing, the best of them trained
        "canonical": True,
        "epochs": 0,
        "child_lr_max": 0.1,
        "drop_prob": 0.0,
        "grad_clip": 5.0,
        "searcher": "random",
        "derive_samples": 300,
        "rank_by": "zero_cost",
        "finals": 27,
    },
    "darts": {  # published for --searcher darts (docs/strategies.md, section 23)
        "batch_size": 64,
        "epochs": 50,
        "child_out_filters": 16,
        "child_use_aux_heads": False,
        "cutout": 0,
        "reward_fraction": 0.5,
        "child_lr_min": 0.001,
        "drop_prob": 0.0,
        "bn_affine": False,
        "grad_clip": 5.0,
    },
    "enas": {
        "batch_size": 160,
        "child_out_filters": 20,
        "reward_fraction": 0.1,
        "child_lr_max": 0.05,
        "child_lr_min": 5e-4,
        "lr_schedule": "cosine_restarts",  # 150 epochs are 10 + 20 + 40 + 80
        "weight_decay": 2e-4,  # 1e-4 times the sum of squares
        "nesterov": True,
        "dropout": 0.1,
        "drop_prob": 0.0,
        "grad_clip": 5.0,
        "controller": "enas",
        "controller_optimizer": "enas_adam",
        "controller_lr": 3.5e-3,
        "controller_steps": 30,
        "controller_samples": 10,
        "entropy_weight": 1e-2,  # 1e-4 of rewards in [0, 1]
        "bl_dec": 0.99,  # of each update; published of each of its ten genotypes, which is 0.904 an update
        "controller_temperature": 1.0,
    },
    "nao": {
        "batch_size": 128,
        "child_out_filters": 20,
        "reward_fraction": 0.1,
        "child_lr_min": 1e-3,
        "drop_prob": 0.1,
        "grad_clip": 5.0,
        "controller_steps": 1,  # with 20 genotypes: the pool of 600 in 30 epochs
        "controller_samples": 20,
    },
}
