"""One training epoch and one evaluation, for any network that returns (logits, auxiliary logits)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.training.precision import Precision


class Batch(Protocol):
    """What a loader yields: see ``data.loaders.Batch``."""

    images: Tensor
    labels: Tensor
    weight: float


Forward = Callable[[Tensor, int], tuple[Tensor, Sequence[Tensor]]]
Criterion = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]


class NotFiniteError(RuntimeError):
    """The loss is no number any more; ``step`` is the first of the steps in a row where it was not."""

    def __init__(self, step: int, where: str = "") -> None:
        place = f" of {where}" if where else ""
        super().__init__(f"the loss is not finite since step {step}{place}; the last checkpoint is untouched")
        self.step = step


class Averages(NamedTuple):
    """Means over images: the loss, top-1 accuracy and that of each auxiliary head in percent."""

    loss: float
    top1: float
    aux_top1: tuple[float, ...]
    images: int


class Meter:
    """Sums that stay on the device until they are read, so that no step waits for one."""

    def __init__(self, device: torch.device, num_aux: int = 0) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(3 + num_aux, dtype=exact, device=device)

    @torch.no_grad()
    def update(self, loss: Tensor, logits: Tensor, aux: Sequence[Tensor], labels: Tensor) -> None:
        """Add a batch: its mean loss (), logits (n, classes) of every head, labels (n,) or (n, classes).

        A process may have none of its images: then its mean is nan, and no image of it counts.
        """
        n = len(labels)
        if not n:
            return
        if labels.dim() == 2:  # mixed: the class with the larger share counts
            labels = labels.argmax(1)
        correct = [(x.argmax(1) == labels).sum() for x in (logits, *aux)]
        values = [loss.detach() * n, correct[0], torch.full_like(correct[0], n), *correct[1:]]
        self.sums += torch.stack([value.to(self.sums.dtype) for value in values])

    def read(self, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> Averages:
        """Wait for the device. ``total`` sums over processes. Raises ValueError if nothing was added."""
        loss, top1, n, *aux = total(self.sums.clone()).tolist()
        if not n:
            raise ValueError("no image was evaluated")
        return Averages(loss / n, 100 * top1 / n, tuple(100 * a / n for a in aux), round(n))


class FiniteWatch:
    """Collects losses without reading them; ``check`` reads them and stops what cannot recover.

    Loss scaling legitimately overflows now and then, so only ``patience`` bad steps in a row are too many.
    """

    def __init__(self, patience: int = 1) -> None:
        self.patience, self.pending, self.bad_since, self.streak = patience, [], None, 0

    def add(self, step: int, loss: Tensor) -> None:
        self.pending.append((step, loss.detach()))

    def check(self) -> float | None:
        """The last loss, or None if there is no new one. Raises NotFiniteError."""
        if not self.pending:
            return None
        losses = torch.stack([loss for _, loss in self.pending]).tolist()
        for (step, _), loss in zip(self.pending, losses, strict=True):
            if math.isfinite(loss):
                self.bad_since, self.streak = None, 0
                continue
            self.bad_since = step if self.bad_since is None else self.bad_since
            self.streak += 1
            if self.streak >= self.patience:
                raise NotFiniteError(self.bad_since)
        self.pending.clear()
        return losses[-1]


def train_epoch(
    batches: Iterable[Batch],
    forward: Forward,
    criterion: Criterion,
    *,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    meter: Meter,
    parameters: Sequence[Tensor],
    clip: float | None = None,
    first: int = 0,
    after_step: Callable[[int, Tensor], None] = lambda step, loss: None,
) -> None:
    """Train on every batch once; the first is number ``first``. ``forward(images, step)``.

    ``after_step(step, loss)`` may report, or raise to stop; the step is complete by then.
    """
    for step, batch in enumerate(batches, first):
        with precision.autocast():
            logits, aux = forward(batch.images, step)
            loss = criterion(logits, aux, batch.labels)
        precision.step(loss if batch.weight == 1 else loss * batch.weight, optimizer, parameters, clip)
        meter.update(loss, logits, aux, batch.labels)
        after_step(step, loss)


@torch.inference_mode()
def evaluate(
    batches: Iterable[Batch],
    forward: Callable[[Tensor], tuple[Tensor, Sequence[Tensor]]],
    *,
    precision: Precision,
    meter: Meter,
) -> None:
    """Add plain cross entropy and accuracies over the batches to the meter. The caller sets the mode."""
    for batch in batches:
        with precision.autocast():
            logits, aux = forward(batch.images)
        meter.update(F.cross_entropy(logits.to(meter.sums.dtype), batch.labels), logits, aux, batch.labels)
