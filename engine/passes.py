"""One pass of training and one of evaluation, for any model and any task.

A model gives ``(outputs, auxiliary outputs)``. What these mean, what they are compared with and how well they do is the
task's (engine/tasks); here is only the order of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from data.loaders import Batch, Loader
from engine.architect import Architect
from engine.averaging import WeightAverage
from engine.precision import Precision
from engine.run_state import RunState
from engine.schedule import Schedule
from engine.tasks import Meter, Task
from utils.system.errors import ReadingError


@dataclass(frozen=True)
class Learner:
    """A model with everything that moves its weights.

    ``parallel``: the model as it is trained, which averages gradients over processes. ``clip``: largest gradient norm.
    ``average``: of the weights over the steps. ``mean``: of a tensor over the processes, in place.
    """

    model: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    precision: Precision
    clip: float | None = None
    average: WeightAverage | None = None
    mean: Callable[[Tensor], Tensor] = lambda values: values

    @property
    def evaluated(self) -> nn.Module:
        """The network whose measures count: the average of the weights where there is one."""
        if self.average is None:
            return self.model
        self.average.take_statistics()
        return self.average.network


def train_pass(
    learner: Learner,
    loader: Loader,
    task: Task,
    *,
    arguments: Sequence[tuple[Any, ...]],
    meter: Meter,
    run: RunState,
    draws: str,
    architect: Architect | None = None,
    reward_batches: Iterator[Batch] | None = None,
) -> None:
    """Train on every batch that is left of the pass, once; what was counted is in the meter.

    ``arguments``: for each step, what the model takes besides images. ``draws``: the name by which what a step draws
    derives from the seed. ``architect``: moves the architecture before every step, on one of the ``reward_batches``.
    """
    epoch, first, steps = run.position.epoch, run.position.step, len(loader)
    learner.model.train()  # validation may have left it in evaluation mode
    if run.world.is_main:  # what all processes counted before an interruption
        meter.load(run.position.phase_state)
    loader.set_epoch(epoch, first)
    try:
        with run.progress("training", steps, learner.precision.patience) as progress:
            for step, batch in enumerate(loader, first):
                for group in learner.optimizer.param_groups:
                    # Groups with and without weight decay have one rate.
                    group["lr"] = learner.schedule.lr(epoch, step, steps)
                # Drop path draws from torch's own generator: seeded here, a step does not depend on those before it.
                torch.manual_seed(run.seed_of(draws, step))
                if architect is not None:  # DARTS: first the architecture, by the loss of these weights elsewhere
                    run.count("images/scored", architect.step(batch, next(reward_batches)))
                loss = train_step(learner, batch, task, arguments[step], meter)
                # Before step_done, which may save: a loss that is not finite, if seen here, leaves the last checkpoint.
                progress(step, loss)
                run.step_done(step, meter.sums)
    except ReadingError:  # raised in one process alone, so that nothing can be summed over all
        run.position.phase_state = meter.sums.tolist()
        raise


def train_step(learner: Learner, batch: Batch, task: Task, arguments: tuple[Any, ...], meter: Meter) -> Tensor:
    """One step: forward, loss, backward, clip, update. Returns the loss of the batch, (); nothing waits for a GPU."""
    targets = batch.labels
    # To None, not to zeros: what this path does not use then keeps its momentum and does not decay.
    learner.optimizer.zero_grad()
    with learner.precision.autocast():
        outputs, aux = learner.parallel(batch.images, *arguments)  # images (n, 3, S, S)
        loss = task.loss(outputs, aux, targets)
    # Gradients are averaged over processes: so each of them divides by the mean of all counts, as DETR does.
    # The count is cloned, since mean() works in place.
    value = loss.over(learner.mean(loss.count.clone()))  # ()
    learner.precision.backward(value, learner.optimizer)
    meter.update(loss, outputs, aux, targets)
    learner.precision.step(learner.optimizer, learner.clip)
    if learner.average is not None:
        learner.average.update()
    return loss.mean.detach()  # of this process alone: it is for the console


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: Iterable[Batch],
    task: Task,
    *,
    precision: Precision,
    meter: Meter,
    arguments: tuple[Any, ...] = (),
    statistics: AbstractContextManager = nullcontext(),  # noqa: B008 - it holds nothing
    total: Callable[[Tensor], Tensor] | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """The metrics of a model on the batches, without training.

    ``arguments``: what the model takes besides images. ``statistics``: the batch-norm statistics that a genotype is
    scored under, entered for the pass; else the caller sets the mode. ``total``: sums over processes. ``check_stop``:
    is called after every batch and may raise.
    """
    with statistics:
        for batch in loader:
            targets = batch.labels
            with precision.autocast():
                outputs, aux = model(batch.images, *arguments)  # images (n, 3, S, S)
            meter.update(task.validation_loss(outputs, targets), outputs, aux, targets)
            check_stop()
    return meter.read(total)
