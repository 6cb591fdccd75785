"""One pass of training and one of evaluation, for any model and any task.

A model gives ``(outputs, auxiliary outputs)``. What these mean, what they are compared with and how well they do is the
task's (engine/tasks); here is only the order of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from data.loaders import Batch
from engine.precision import Precision
from engine.tasks import Meter, Task
from utils.system.errors import ReadingError


class NotFiniteError(RuntimeError):
    """The loss is no number any more; ``step`` is the first of the steps in a row where it was not."""

    def __init__(self, step: int, where: str = "") -> None:
        place = f" of {where}" if where else ""
        super().__init__(f"the loss is not finite since step {step}{place}; the last checkpoint is untouched")
        self.step = step


class FiniteWatch:
    """Collects losses without reading them; ``check`` reads them and stops what cannot recover.

    Loss scaling legitimately overflows now and then, so only ``patience`` bad steps in a row are too many.
    """

    def __init__(self, patience: int = 1) -> None:
        self.patience, self.pending, self.bad_since, self.streak = patience, [], None, 0

    def add(self, step: int, loss: Tensor) -> None:
        """Note a loss, to be read later."""
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


class Progress(Protocol):
    """Where a pass stands, and who is told of it: a run (engine.run_state.Training), or nobody."""

    def steps(self, loader: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
        """The batches that are left of the pass, with their numbers."""

    def begin(self, meter: Meter) -> None:
        """Give the meter what earlier parts of an interrupted pass counted."""

    def done(self, step: int, loss: Tensor, meter: Meter) -> None:
        """Step ``step`` is complete. May raise to stop the pass."""

    def keep(self, meter: Meter) -> None:
        """The pass breaks off here: keep what was counted."""


class Unattended:
    """The progress of a pass that nobody watches or interrupts."""

    def steps(self, loader: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
        """All batches."""
        return iter(enumerate(loader))

    def begin(self, meter: Meter) -> None:
        """Nothing was counted before."""

    def done(self, step: int, loss: Tensor, meter: Meter) -> None:
        """Nobody is told."""

    def keep(self, meter: Meter) -> None:
        """Nobody goes on."""


def train_pass(
    model: nn.Module,
    loader: Iterable[Batch],
    task: Task,
    *,
    arguments: Sequence[Sequence[tuple[Any, ...]]],
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    meter: Meter,
    seeds: Sequence[int] | None = None,
    clip: float | None = None,
    average: Any = None,
    progress: Progress | None = None,
    before: Callable[[int, Batch], None] | None = None,
    mean: Callable[[Tensor], Tensor] = lambda values: values,
) -> None:
    """Train on every batch that is left of the pass, once; what was counted is in the meter.

    ``arguments[step]``: what the model takes besides the images of that step, a path and its drop path for one; the
    batch passes once with each of them, and their gradients are averaged. ``seeds[step]``: of what the step draws from
    the global generator. ``clip``: largest gradient norm. ``average``: of the weights, told
    of every step. ``before``: called with the number and the batch of every step before its gradients are taken.
    ``mean``: of a tensor over processes, in place.
    """
    progress = progress or Unattended()
    parameters = () if clip is None else list(model.parameters())
    if not model.training:  # a supernet has thousands of modules to switch
        model.train()
    progress.begin(meter)
    try:
        for step, batch in progress.steps(loader):
            if seeds is not None:
                torch.manual_seed(seeds[step])
            if before is not None:
                before(step, batch)
            share = 1 / len(arguments[step])
            optimizer.zero_grad()
            losses = []
            for own in arguments[step]:
                with precision.autocast():
                    outputs, aux = model(batch.images, *own)
                    loss = task.loss(outputs, aux, batch.labels)
                # Gradients are averaged over processes: so each divides by the mean of all counts, as DETR does.
                value = loss.over(mean(loss.count.clone()))
                precision.backward(value if share == 1 else value * share, optimizer)
                meter.update(loss, outputs, aux, batch.labels)
                losses.append(loss.mean.detach())
            precision.step(optimizer, parameters, clip)
            if average is not None:
                average.update()
            progress.done(step, losses[0] if len(losses) == 1 else torch.stack(losses).mean(), meter)
    except ReadingError:
        progress.keep(meter)
        raise


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    task: Task,
    *,
    precision: Precision,
    meter: Meter,
    arguments: tuple[Any, ...] = (),
    mode: AbstractContextManager = nullcontext(),  # noqa: B008 - it holds nothing
    total: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """The metrics of a model on the batches, without training.

    ``arguments``: what the model takes besides images. ``mode``: entered for the pass, for example the statistics that
    a path is scored under; else the caller sets the mode. ``total``: sums over processes.
    """
    with mode:
        for batch in batches:
            with precision.autocast():
                outputs, aux = model(batch.images, *arguments)
            meter.update(task.validation_loss(outputs, batch.labels), outputs, aux, batch.labels)
    return meter.read(total)
