"""Which flags a task cannot have: they are refused before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.recipes import choose_recipe
from engine.tasks import TASKS


def require_search(flags: Mapping[str, Any]) -> None:
    """Raise ValueError for flags of a search that its task cannot have."""
    TASKS[flags["task"]].require_ranker(flags["rank_by"])


def require_retrain(flags: Mapping[str, Any]) -> None:
    """Raise ValueError for flags of a retraining that its task cannot have."""
    task = TASKS[flags["task"]]
    if flags["export"]:
        task.require_exportable()
    if task.targets == "labels":
        return
    recipe = choose_recipe(flags["recipe"], flags)
    off = {"augment": "none", "mixup": 0, "cutmix": 0, "random_erasing": 0}
    on = [name for name, value in off.items() if getattr(recipe, name) != value]
    if on or flags["resolution_jitter"]:
        name = on[0] if on else "resolution_jitter"
        remedy = " ".join(f"--{name} {off[name]}" for name in on) or "leave it out"
        raise ValueError(
            f"--{name} changes images without their {task.targets}, --task {task.name} cannot have it: {remedy}"
        )
