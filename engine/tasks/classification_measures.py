"""What is measured of a trained classifier, on all images of a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.tasks.base import exact
from models.folding import folded

TOP5_CLASSES = 10  # with fewer classes, five guesses say little
WRITTEN_CLASSES = 1000  # of a whole confusion matrix in measures.json: of 20,000 it would take gigabytes
BINS = 15  # of the calibration error
SHIFT = 1 / 8  # of the side: how far images are moved to measure shift consistency


class Answers(NamedTuple):
    """What is kept of a classifier's logits, (N,) each: a few numbers an image, however many classes there are.

    ``guesses``: the likeliest classes; ``confidences``: their probabilities; ``losses``: cross entropies;
    ``in_top5``: whether the label is among the five likeliest.
    """

    labels: Tensor
    guesses: Tensor
    confidences: Tensor
    losses: Tensor
    in_top5: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Answers:
        """From logits (N, K) and labels (N,)."""
        logits = logits.to(exact(logits.device))
        confidences, guesses = logits.softmax(1).max(1)
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices  # (N, 5)
        losses = F.cross_entropy(logits, labels, reduction="none")
        return cls(labels, guesses, confidences, losses, (best == labels[:, None]).any(1))


@torch.inference_mode()
def measure_classifier(
    network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
) -> dict[str, Any]:
    """All measures of a network on the images of a loader; ``generator`` moves images for the shift consistency."""
    network = folded(network)
    loader.set_epoch(0)
    parts = [Answers.of(network(batch.images)[0], batch.labels) for batch in loader]  # nothing waits for the device
    measured = summary(Answers(*(torch.cat(values).cpu() for values in zip(*parts, strict=True))), names)
    loader.set_epoch(0)
    shift = max(1, round(SHIFT * loader.preset.image_size))
    images = (batch.images for batch in loader)
    measured["shift_consistency"] = shift_consistency(
        lambda moved: network(moved)[0], images, shift, generator=generator
    )
    return measured


def summary(answers: Answers, classes: Sequence[str]) -> dict[str, Any]:
    """Every measure as plain values for a report, in percent but for ``loss``.

    ``top5`` is None with fewer than 10 classes, and so is the accuracy of a class that has no image. Rows of
    ``confusion`` are true classes, columns the predicted ones; of more than 1,000 classes there is none.
    """
    k, labels, right = len(classes), answers.labels, answers.guesses == answers.labels
    by_class = zip(labels[right].bincount(minlength=k).tolist(), labels.bincount(minlength=k).tolist(), strict=True)
    accuracies = [100 * hits / images if images else None for hits, images in by_class]
    confusion = {}
    if k <= WRITTEN_CLASSES:
        confusion["confusion"] = (k * labels + answers.guesses).bincount(minlength=k * k).view(k, k).tolist()
    return {
        "images": len(labels),
        "loss": answers.losses.double().mean().item(),
        "top1": 100 * right.double().mean().item(),
        "top5": 100 * answers.in_top5.double().mean().item() if k >= TOP5_CLASSES else None,
        "calibration_error": calibration_error(answers.confidences, right),
        "per_class": dict(zip(classes, accuracies, strict=True)),
        **confusion,
    }


def calibration_error(confidences: Tensor, right: Tensor, bins: int = BINS) -> float:
    """The expected calibration error in percent (Guo et al., arXiv 1706.04599, equation 3).

    Images are sorted by ``confidences`` (N,) into equal-width bins ((m-1)/bins, m/bins]; the gap between a bin's mean
    confidence and the share that is ``right`` (N,) is weighted with its share of the images.
    """
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1]
    confidences = confidences.double()
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, torch.bucketize(confidences, inner), confidences - right.double())
    return 100 * gaps.abs().sum().item() / len(confidences)


@torch.no_grad()
def shift_consistency(
    predict: Callable[[Tensor], Tensor], batches: Iterable[Tensor], max_shift: int, *, generator: torch.Generator
) -> float:
    """The share of images whose predicted class agrees under two shifts, in percent (Zhang, arXiv 1904.11486, 4.2).

    ``batches``: of images (n, C, H, W). Each image is moved in two different ways, drawn
    uniformly from all shifts by up to ``max_shift`` pixels down or up and right or left. Zhang crops from larger
    images; small ones have no margin, so what moves in is zero: the mean colour of normalised images. ``predict``
    maps a batch to logits (n, K); it sees 2n images in two calls.
    """
    agreeing, total, ways = 0, 0, (2 * max_shift + 1) ** 2
    for batch in batches:
        drawn = torch.randint(ways * (ways - 1), (len(batch),), generator=generator, device=generator.device)
        first = drawn // (ways - 1)
        second = (first + 1 + drawn % (ways - 1)) % ways
        a, b = (predict(_shifted(batch, way.to(batch.device), max_shift)).argmax(1) for way in (first, second))
        agreeing += (a == b).sum()
        total += len(batch)
    return 100 * int(agreeing) / total


def _shifted(images: Tensor, way: Tensor, most: int) -> Tensor:
    """Each image moved its own way: number ``way`` (N,) of the (2 most + 1)^2 windows in the padded image."""
    n, channels, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    steps = torch.arange(max(height, width), device=images.device)
    rows = (way // (2 * most + 1))[:, None] + steps[:height]  # (N, H)
    columns = (way % (2 * most + 1))[:, None] + steps[:width]  # (N, W)
    image = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
