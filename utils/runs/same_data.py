"""Whether data are those that a checkpoint knows, and what differs, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.system.errors import UsageError


def require_classes(path: Path, known: Sequence[str], name: str, classes: Sequence[str]) -> None:
    """Refuse data of other classes than a checkpoint knows, naming the first that differs. Raises UsageError."""
    differing = class_difference(known, classes)
    if differing:
        raise UsageError(f"{path} knows other classes than {name}: {differing}")


def class_difference(known: Sequence[str], classes: Sequence[str]) -> str | None:
    """The first difference between the class names there and those here, in words."""
    if len(known) != len(classes):
        return f"{len(known)} there, {len(classes)} here"
    pairs = enumerate(zip(known, classes, strict=True))
    return next((f"class {i} is {a!r} there, {b!r} here" for i, (a, b) in pairs if a != b), None)


def require_same_data(state: Mapping[str, Any], facts: Mapping[str, Any], run: str) -> None:
    """Refuse to go on with other data than a run began with, and say what differs. Where they lie does not matter.

    What a checkpoint does not state, as older ones have no fingerprint, is not compared. Raises UsageError.
    """
    differing = []
    classes = class_difference(state["classes"], facts["classes"])
    if classes:
        differing.append(f"other classes: {classes}")
    for key, what in (
        ("image_size", "image size"),
        ("train_images", "training images"),
        ("val_images", "validation images"),
    ):
        if key in state and state[key] != facts[key]:
            differing.append(f"{what}: {facts[key]}, not {state[key]}")
    # Says least, so only where nothing else does.
    if not differing and state.get("fingerprint") and state["fingerprint"] != facts["fingerprint"]:
        differing.append("names or sizes of its files, or stored pixels or labels")
    if differing:
        raise UsageError(f"{facts['dataset']} is not what {run} began with; {'; '.join(differing)}")
