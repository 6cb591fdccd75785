"""What a task that reads no label changes besides images and answers (docs/method.md, section 20)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

RETRAINED = {"rotation": "classify", "jigsaw": "classify"}  # the task that what a search finds is retrained for
# Flags whose defaults are halved, since a batch grows fourfold.
HALVED = {"rotation": ("batch_size", "child_lr_max")}


def retrained(task: str) -> str:
    """The task that networks are retrained for after a search with this one: labels, where it read none."""
    return RETRAINED.get(task, task)


def halved(task: str, values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The values of flags that a task halves, but for those that were given."""
    names = [name for name in HALVED.get(task, ()) if name not in given]
    return {name: values[name] // 2 if isinstance(values[name], int) else values[name] / 2 for name in names}
