"""Training recipes: what ``--recipe`` stands for, each part of which is a flag too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """The parts of a training recipe; 0 means off.

    ``augment``: policy; ``mixup``, ``cutmix``: beta parameters; ``random_erasing``: probability; ``ema``: decay of
    the weight average; ``lr_warmup_epochs``: linear; ``drop_path_until``: share of the epochs that its ramp takes.
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
}


def choose_recipe(name: str, flags: Mapping[str, Any]) -> Recipe:
    """Take the recipe of that name, with those of its parts that ``flags`` gives a value other than None."""
    given = {f.name: flags[f.name] for f in fields(Recipe) if flags.get(f.name) is not None}
    return replace(RECIPES[name], **given)
