"""Which flags a task of masks or boxes cannot have: they are refused before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.recipes import choose_recipe
from engine.task import reads

UNTRAINED = ("shared", "parameters", "macs")  # rankers that ask for no label of an image


def require_search(flags: Mapping[str, Any]) -> None:
    """Raise ValueError for flags of a search that its task cannot have."""
    task = flags["task"]
    if reads(task) != "labels" and flags["rank_by"] not in UNTRAINED:
        raise ValueError(f"--rank_by {flags['rank_by']} is for classification: --task {task} takes {_or(UNTRAINED)}")


def require_retrain(flags: Mapping[str, Any]) -> None:
    """Raise ValueError for flags of a retraining that its task cannot have."""
    task = flags["task"]
    if reads(task) == "labels":
        return
    recipe = choose_recipe(flags["recipe"], flags)
    off = {"augment": "none", "mixup": 0, "cutmix": 0, "random_erasing": 0}
    on = [name for name, value in off.items() if getattr(recipe, name) != value]
    if on or flags["resolution_jitter"]:
        name = on[0] if on else "resolution_jitter"
        remedy = " ".join(f"--{name} {off[name]}" for name in on) or "leave it out"
        raise ValueError(f"--{name} changes images without their {reads(task)}, --task {task} cannot have it: {remedy}")
    if task == "detect" and flags["export"]:
        raise ValueError("--export is for --task classify and --task segment: boxes are found outside of the network")


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
