"""Metrics of a classifier: pure functions of logits (N, K) and labels (N,), and one of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.system.terminal import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP5_CLASSES = 10  # with fewer classes, five guesses say little
BINS = 15
DRAWN_CLASSES = 60  # a picture of a thousand takes 9 GB of memory, and nobody can read it
WRITTEN_CLASSES = 20  # up to here the numbers of a confusion matrix fit into its squares


class Predictions:
    """Collect logits and labels of batch after batch. They stay on their device until they are read: no step waits."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (n, K), labels (n,). Raises ValueError where the two do not fit."""
        _require(logits, labels)
        self._logits.append(logits.detach())
        self._labels.append(labels.detach())

    def read(self) -> tuple[Tensor, Tensor]:
        """Return all logits (N, K) in float64 and labels (N,), on the CPU. Raises ValueError if nothing was added."""
        if not sum(len(labels) for labels in self._labels):
            raise ValueError("no image was evaluated")
        logits = torch.cat([part.cpu() for part in self._logits]).double()
        return logits, torch.cat([part.cpu() for part in self._labels])


def summary(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Compute every metric as plain values for a report. ``classes``: the K names. Percentages but for ``loss``.

    ``top5`` is None with fewer than 10 classes, and so is the accuracy of a class that has no image.
    """
    if len(classes) != logits.shape[1]:
        raise ValueError(f"{len(classes)} classes are named, but the logits are of {logits.shape[1]}")
    matrix = confusion_matrix(logits, labels)
    return {
        "images": len(labels),
        "loss": mean_loss(logits, labels),
        "top1": top_accuracy(logits, labels),
        "top5": top_accuracy(logits, labels, 5) if len(classes) >= TOP5_CLASSES else None,
        "calibration_error": calibration_error(logits, labels),
        "per_class": dict(zip(classes, per_class_accuracy(matrix), strict=True)),
        "confusion": matrix.tolist(),
    }


def mean_loss(logits: Tensor, labels: Tensor) -> float:
    """The plain cross entropy in nats, averaged over images."""
    _require(logits, labels)
    return F.cross_entropy(logits.double(), labels).item()


def top_accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """The share of images whose class is among the ``k`` with the largest logits, in percent."""
    _require(logits, labels)
    guesses = logits.argmax(1, keepdim=True) if k == 1 else logits.topk(min(k, logits.shape[1]), dim=1).indices
    return 100 * (guesses == labels[:, None]).any(1).double().mean().item()


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Count images by class, int64 (K, K): row = true class, column = predicted class."""
    _require(logits, labels)
    k = logits.shape[1]
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < k):
        raise ValueError(f"labels go from {int(labels.min())} to {int(labels.max())}, but there are {k} classes")
    return torch.bincount(labels.long() * k + logits.argmax(1), minlength=k * k).view(k, k)


def per_class_accuracy(matrix: Tensor) -> list[float | None]:
    """The accuracy of each class in percent, from the rows of a confusion matrix; None where a row is empty."""
    pairs = zip(matrix.diagonal().tolist(), matrix.sum(1).tolist(), strict=True)
    return [100 * right / images if images else None for right, images in pairs]


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The expected calibration error in percent (Guo et al., arXiv 1706.04599, equation 3).

    Images are sorted by their largest softmax into ``bins`` equal-width bins ((m-1)/bins, m/bins]; the gap
    between a bin's mean confidence and its accuracy is weighted with its share of the images.
    """
    _require(logits, labels)
    confidence, guess = logits.double().softmax(1).max(1)
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=logits.device)[1:-1]
    gaps = torch.zeros(bins, dtype=torch.float64, device=logits.device)
    gaps.index_add_(0, torch.bucketize(confidence, inner), confidence - (guess == labels).double())
    return 100 * gaps.abs().sum().item() / len(labels)


@torch.no_grad()
def shift_consistency(
    predict: Callable[[Tensor], Tensor],
    images: Tensor | Iterable[Tensor],
    max_shift: int,
    *,
    generator: torch.Generator,
    batch_size: int = 256,
) -> float:
    """The share of images whose predicted class agrees under two shifts, in percent (Zhang, arXiv 1904.11486, 4.2).

    ``images``: (N, C, H, W), cut into batches here, or batches. Each image is moved in two different ways, drawn
    uniformly from all shifts by up to ``max_shift`` pixels down or up and right or left. Zhang crops from larger
    images; small ones have no margin, so what moves in is zero: the mean colour of normalised images. ``predict``
    maps a batch to logits (n, K); it sees 2n images in two calls. Raises ValueError without images or shifts.
    """
    if max_shift < 1:
        raise ValueError(f"a shift of at most {max_shift} pixels moves nothing")
    agreeing, total, ways = 0, 0, (2 * max_shift + 1) ** 2
    for batch in images.split(batch_size) if isinstance(images, Tensor) else images:
        drawn = torch.randint(ways * (ways - 1), (len(batch),), generator=generator, device=generator.device)
        first = drawn // (ways - 1)
        second = (first + 1 + drawn % (ways - 1)) % ways
        a, b = (predict(_shifted(batch, way.to(batch.device), max_shift)).argmax(1) for way in (first, second))
        agreeing += (a == b).sum()
        total += len(batch)
    if not total:
        raise ValueError("no image was evaluated")
    return 100 * int(agreeing) / total


def _shifted(images: Tensor, way: Tensor, most: int) -> Tensor:
    """Each image moved its own way: number ``way`` (N,) of the (2 most + 1)^2 windows in the padded image."""
    n, channels, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    steps = torch.arange(max(height, width), device=images.device)
    rows = (way // (2 * most + 1))[:, None] + steps[:height]
    columns = (way % (2 * most + 1))[:, None] + steps[:width]
    image = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def agreement(logits: Tensor, expected: Tensor, tolerance: float) -> tuple[float, bool]:
    """The largest difference of a logit, and whether both are the same network's: within ``tolerance`` of the
    largest expected logit, and with the same classes predicted, save where rounding decides between two."""
    if logits.shape != expected.shape:
        return float("inf"), False
    allowed = tolerance * max(expected.abs().max().item(), 1e-3)
    difference = (logits - expected).abs().max().item()
    best = expected.topk(min(2, expected.shape[1]), dim=1).values
    decided = best[:, 0] - best[:, -1] > allowed / 100
    same = (logits.argmax(1) == expected.argmax(1))[decided].all().item()
    return difference, bool(same and difference <= allowed)


def most_confused(matrix: Tensor, count: int) -> Tensor:
    """The ``count`` classes that are mistaken, or that others are mistaken for, most often, in their own order."""
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    return wrong.argsort(descending=True, stable=True)[:count].sort().values


def confusion_figure(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix: shade = share of the true class; counts are written where they fit.

    ``matrix``: (K, K), row true. The page grows with the classes, so that their names can be read, up to
    ``DRAWN_CLASSES``; of more, those that are confused most are drawn. Names are drawn as they are spelt.
    """
    from matplotlib.figure import Figure

    total = k = len(classes)
    if tuple(matrix.shape) != (k, k):
        raise ValueError(f"{k} classes are named, but the matrix is of shape {tuple(matrix.shape)}")
    images = matrix.sum(1, keepdim=True)
    if total > DRAWN_CLASSES:
        shown = most_confused(matrix, DRAWN_CLASSES)
        matrix, images = matrix[shown][:, shown], images[shown]
        classes, k = [classes[i] for i in shown.tolist()], DRAWN_CLASSES
    written = k <= WRITTEN_CLASSES
    side = 2.5 + k * (0.45 if written else 0.15)
    figure = Figure(figsize=(side + 1, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shares = (100 * matrix.cpu().double() / images.cpu().clamp(min=1)).tolist()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="% of the true class")
    names = [name if len(name) <= 24 else name[:23] + "…" for name in map(show, classes)]
    style = {"fontsize": 9 if written else 7, "parse_math": False}  # a name with two dollars is no formula
    axes.set_xticks(range(k), names, rotation=90, **style)
    axes.set_yticks(range(k), names, **style)
    if total > k:
        axes.set_title(f"the {k} of {total} classes that are confused most; all of them: measures.json", fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if written:
        for row, values in enumerate(matrix.tolist()):
            for column, count in enumerate(values):
                colour = "white" if shares[row][column] > 50 else "black"
                if count:
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    return figure


def _require(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or tuple(labels.shape) != (len(logits),):
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} are not (N, K) and (N,)")
