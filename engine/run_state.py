"""Where a run stands in its epochs and phases: the object that phases ask what is left and tell what is done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from engine.checkpoints import TrainingState
from engine.progress import ProgressReport, epoch_line
from engine.tasks import Task
from utils.reports.log import RunLog
from utils.runs.context import RunContext
from utils.runs.position import Position
from utils.runs.resume import CHECKPOINT
from utils.system.device import peak_memory, synchronise
from utils.system.errors import ReadingError
from utils.system.processes import World
from utils.system.seeds import derived_seed
from utils.system.signals import Stopped, StopRequest, stop_requests


@dataclass
class RunState:
    """The position of a run, its stop requests and its log.

    ``notes``: plain values that outlive an epoch. ``epoch_seconds``: of the epochs that this process has run.
    ``entered``: whether this process has entered a phase of this epoch; ``phase_began``: when, by time.perf_counter.
    """

    context: RunContext
    training: TrainingState
    position: Position = field(default_factory=Position)
    notes: dict[str, Any] = field(default_factory=dict)
    stop: StopRequest | None = None
    epoch_seconds: list[float] = field(default_factory=list)
    entered: bool = False
    phase_began: float | None = None

    @property
    def log(self) -> RunLog:
        """What the run says."""
        return self.context.log

    @property
    def world(self) -> World:
        """The processes of the run."""
        return self.context.world

    def begin(self, derived: Mapping[str, Any]) -> None:
        """Go to where the earlier run stood, if there is one, and open the run folder; ``derived``: for config.json.

        Raises CheckpointError and UsageError, before anything is written.
        """
        earlier = self.context.earlier
        if earlier is not None:
            self.training.restore(earlier.state, earlier.path, self.world)
            self.position, self.notes = Position.of(earlier.state["position"]), earlier.state["notes"]
        self.context.open_folder(derived, self.training.precision.name)

    # An epoch. The script says which phases there are; the run knows which of them are done.

    def epochs(self) -> Iterator[int]:
        """The epochs that are left of --epochs, each from where the run stands in it."""
        while self.position.epoch < self.context.config.epochs:
            yield self.position.epoch

    def enters(self, phase: str) -> bool:
        """Whether this phase of the epoch is still to be done, or to be finished; its clock starts."""
        if self.position.phase and not self.entered and self.position.phase != phase:
            return False  # it was done before the run was interrupted in a later one
        self.entered = True
        self.position.begin(phase)  # of one that was interrupted it keeps the step
        self.phase_began = time.perf_counter()
        return True

    def leaves(self, metrics: Mapping[str, float]) -> None:
        """The phase is done: what it reports goes on record, and its clock stops."""
        self.position.epoch_metrics |= metrics
        self._stop_phase_clock()

    def _stop_phase_clock(self) -> None:
        if self.phase_began is None:
            return
        synchronise(self.context.device)  # else its last kernels would count as the next phase
        metrics, name = self.position.epoch_metrics, f"time/{self.position.phase}_s"
        # On top of the time before an interruption.
        metrics[name] = metrics.get(name, 0.0) + time.perf_counter() - self.phase_began
        self.phase_began = None

    def write_epoch(self, training_phase: str, num_images: int) -> dict[str, float]:
        """Write the metrics of the whole epoch to metrics.jsonl and TensorBoard; :meth:`end_epoch` is to follow.

        ``training_phase``: the one that trains, on ``num_images``, for images/s.
        """
        metrics, precision = self.position.epoch_metrics, self.training.precision
        # First of all: what is put under time/ below is no phase, and not to be summed.
        metrics["time/epoch_s"] = sum(value for key, value in metrics.items() if key.startswith("time/"))
        metrics["time/images_per_s"] = num_images / metrics[f"time/{training_phase}_s"]
        metrics["memory/peak_bytes"] = peak_memory(self.context.device)
        if precision.patience > 1:  # where losses are scaled; in all others no step is left out
            metrics["time/skipped_steps"] = precision.skipped
        self.log.epoch(self.position.epoch, metrics)
        # What is saved from here on, the best network included, goes on with the next epoch.
        self.position.next_epoch()
        self.entered = False
        self.world.average_statistics(self.training.model)
        return metrics

    def end_epoch(self, metrics: Mapping[str, float], task: Task, warnings: Sequence[str] = ()) -> None:
        """Save, then say how the epoch went: nobody who reads along can lose what is done."""
        self.save()
        epochs = self.context.config.epochs
        self.epoch_seconds.append(metrics["time/epoch_s"])
        seconds_left = (epochs - self.position.epoch) * statistics.mean(self.epoch_seconds[-5:])  # the last five
        self.log.line(epoch_line(self.position.epoch - 1, epochs, metrics, seconds_left, task.measure, task.unit))
        for text in warnings:
            self.log.line(f"warning: {text}")

    # A step of a phase.

    def progress(self, name: str, total: int, patience: int = 1) -> ProgressReport:
        """What a person sees of a phase of ``total`` steps, from the step at which the run stands."""
        position, every = self.position, self.context.config.report_freq
        title = f"epoch {position.epoch} {name}"
        return ProgressReport(self.log, title, total, every, position.step, patience=patience)

    def seed_of(self, name: str, step: int) -> int:
        """The seed of what a step of this epoch draws in this process, by the name of what it is for."""
        return derived_seed(self.context.config.seed, name, self.position.epoch, step, self.world.rank)

    def count(self, name: str, number: int) -> None:
        """Add a number of all processes to the metrics of the epoch."""
        metrics = self.position.epoch_metrics
        # Summed at once, since a run goes on with the metrics of the first process.
        metrics[name] = metrics.get(name, 0) + self.world.count(number)

    def step_done(self, step: int, sums: Tensor | None = None) -> None:
        """A step is complete; raises Stopped if the run was asked to stop. ``sums``: what the phase has counted."""
        self.position.step = step + 1  # before the check: a checkpoint goes on with the next one
        try:
            self.check_stop()
        except Stopped:
            if sums is not None:
                # All processes stop at the same step: their sums meet here, for the checkpoint of the first.
                self.position.phase_state = self.world.all_reduce_sum(sums).tolist()
            raise

    def check_stop(self) -> None:
        """Raise Stopped, in all processes at the same call, if the run was asked to stop."""
        self.stop.check()

    # The whole run.

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Within this a polite stop, or a batch that cannot be read, leaves a checkpoint of this very step."""
        with stop_requests(self.world) as self.stop:
            try:
                yield
            except Stopped:
                self._stop_phase_clock()  # first: the checkpoint keeps these seconds
                self.save()
                raise
            except ReadingError:
                self._stop_phase_clock()
                if self.world.size == 1:  # else the other processes wait for this one in the middle of a step
                    self.save()
                raise

    def save(self, name: str = CHECKPOINT) -> None:
        """Write the complete state; all processes must call it."""
        path = None if self.log.folder is None else self.log.folder / name
        self.training.save(path, self.position, self.notes, self.world)
