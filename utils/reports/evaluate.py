"""All measures of a trained classifier, and the names of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.folding import folded
from utils.reports import metrics

SHIFT = 1 / 8  # of the side: how far images are moved to measure shift consistency


def output_names(classes: Sequence[str], outputs: int) -> list[str]:
    """A name for every output: the classes, then those that the data has no class for."""
    return [*classes, *(f"output {i}" for i in range(len(classes), outputs))]


def first_images(loader: Any) -> Tensor:
    """The images of the first batch of a loader: (n, 3, S, S)."""
    loader.set_epoch(0)
    return next(iter(loader)).images


@torch.inference_mode()
def measure_classifier(
    network: nn.Module, loader: Any, classes: Sequence[str], generator: torch.Generator
) -> dict[str, Any]:
    """All measures of a network on the images of a loader; ``generator`` moves images for the shift consistency."""
    network = folded(network)
    predictions = metrics.Predictions()
    loader.set_epoch(0)
    for batch in loader:
        predictions.update(network(batch.images)[0], batch.labels)  # logits (n, classes), labels (n,)
    found = metrics.summary(*predictions.read(), classes)
    loader.set_epoch(0)
    shift = max(1, round(SHIFT * loader.preset.image_size))
    images = (batch.images for batch in loader)
    found["shift_consistency"] = metrics.shift_consistency(
        lambda moved: network(moved)[0], images, shift, generator=generator
    )
    return found
