"""What is done with a finished network needs: names of its outputs, and images to show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def output_names(classes: Sequence[str], outputs: int) -> list[str]:
    """A name for every output: the classes, then those that the data has no class for."""
    return [*classes, *(f"output {i}" for i in range(len(classes), outputs))]


def first_batch(loader: Any, most: int | None = None) -> Any:
    """The first batch of a loader, or of it no more images than ``most``."""
    loader.set_epoch(0)
    batch = next(iter(loader))
    return batch._replace(images=batch.images[:most], labels=batch.labels[:most])
