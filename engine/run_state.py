"""What a search and a retraining share: where the run stands in its epochs and phases, and the state to go on from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.loaders import Batch
from engine.precision import Precision
from engine.progress import Reporter, epoch_line
from engine.schedule import Schedule
from engine.tasks import Meter
from utils.reports.log import RunLog
from utils.runs.clock import PHASES, REST, WRITING, Clock
from utils.runs.resume import CHECKPOINT, Position
from utils.system import checkpoint
from utils.system.device import compile_blocks, memory_format, peak_memory, synchronise
from utils.system.errors import ReadingError
from utils.system.processes import World, running_statistics
from utils.system.signals import Stopped, StopRequest, stop_requests

SECONDS = "seconds"  # the note in a checkpoint that says where the time of the run went so far


@dataclass
class Training:
    """A model with its optimizer, and where its run stands.

    ``wrapped``: the model as it is trained, in several processes or ``compiled``. ``extras``: further things with
    ``state_dict`` and ``load_state_dict`` that belong to the state. ``facts``: plain values for the checkpoint.
    """

    kind: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    schedule: Schedule
    world: World
    device: torch.device
    report_freq: int
    flags: Mapping[str, Any]
    facts: Mapping[str, Any]
    extras: Mapping[str, Any] = field(default_factory=dict)
    at: Position = field(default_factory=Position)
    log: RunLog = field(default_factory=lambda: RunLog(None))
    stop: StopRequest | None = None
    compiled: bool = False
    clock: Clock = field(default_factory=Clock)
    notes: dict[str, Any] = field(default_factory=dict)  # plain values that outlive an epoch
    seconds: list[float] = field(default_factory=list)  # of the epochs that this process has run
    wrapped: nn.Module = field(init=False)
    entered: bool = False  # whether a phase of this epoch was entered by this process
    began: float | None = None  # the clock of the phase
    watch: Reporter | None = None  # of the training pass that is going on

    def __post_init__(self) -> None:
        self.model.to(memory_format=memory_format(self.device))
        self.precision.prepare(self.model, self.optimizer)
        if self.compiled:
            compile_blocks(self.model)
        self.wrapped = self.world.wrap(self.model, self.device)

    @property
    def heads(self) -> int:
        """How many auxiliary heads the model has."""
        return len(self.model.aux_heads)

    def reporter(self, name: str, total: int, patience: int = 1) -> Reporter:
        """Progress of a phase, from the step at which the run stands."""
        title = f"epoch {self.at.epoch} {name}"
        return Reporter(self.log, title, total, self.report_freq, self.at.step, patience=patience)

    # The parts of an epoch. The script says which phases there are; the run knows which of them are done.

    def epochs(self) -> Iterator[int]:
        """The epochs that are left, each from where the run stands in it."""
        while self.at.epoch < self.schedule.epochs:
            yield self.at.epoch

    def enters(self, phase: str) -> bool:
        """Whether this phase of the epoch is still to be done, or to be finished; its clock starts."""
        if self.at.phase and not self.entered and self.at.phase != phase:
            return False  # it was done before the run was interrupted in a later one
        self.entered = True
        self.at.begin(phase)
        self.began = time.perf_counter()
        self.clock.enter(PHASES.get(phase, REST))
        return True

    def add(self, metrics: Mapping[str, float]) -> None:
        """Put what the phase reports on record; its clock stops."""
        self.at.record |= metrics
        self._stop_clock()

    def _stop_clock(self) -> None:
        if self.began is None:
            return
        synchronise(self.device)
        name = f"time/{self.at.phase}_s"
        self.at.record[name] = self.at.record.get(name, 0.0) + time.perf_counter() - self.began
        self.began = None
        self.clock.enter(REST)

    def close_epoch(self, first: str, num_images: int) -> dict[str, float]:
        """The complete record of the epoch, in metrics.jsonl and TensorBoard; :meth:`end_epoch` is to follow.

        ``first``: the phase that trains, on ``num_images``, for images/s.
        """
        record = self.at.record
        record["time/epoch_s"] = sum(value for key, value in record.items() if key.startswith("time/"))
        record["time/images_per_s"] = num_images / record[f"time/{first}_s"]
        record["memory/peak_bytes"] = peak_memory(self.device)
        if self.precision.patience > 1:
            record["time/skipped_steps"] = self.precision.skipped
        with self.clock.part(WRITING):
            self.log.epoch(self.at.epoch, record)
        self.at.next_epoch()
        self.entered = False
        self.world.average_statistics(self.model)
        return record

    def end_epoch(self, record: Mapping[str, float], measure: str = "top1") -> None:
        """Save, then say how the epoch went: nobody who reads along can lose what is done."""
        self.save()
        self.seconds.append(record["time/epoch_s"])
        left = (self.schedule.epochs - self.at.epoch) * statistics.mean(self.seconds[-5:])
        self.log.line(epoch_line(self.at.epoch - 1, self.schedule.epochs, record, left, measure))

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Within this a polite stop, or a batch that cannot be read, leaves a checkpoint of this very step."""
        with stop_requests(self.world) as self.stop:
            try:
                yield
            except Stopped:
                self._stop_clock()
                self.save()
                raise
            except ReadingError:
                self._stop_clock()
                if self.world.size == 1:  # else the other processes wait for this one in the middle of a step
                    self.save()
                raise

    # Progress of a training pass: see engine.passes.Progress.

    def begin(self, meter: Meter) -> None:
        """Give the meter what the pass counted before it was interrupted."""
        if self.at.rows and self.world.is_main:
            meter.load(self.at.rows)

    def steps(self, loader: Any) -> Iterator[tuple[int, Batch]]:
        """The batches of the epoch from the step at which the run stands, each at its learning rate."""
        loader.set_epoch(self.at.epoch, self.at.step)
        with self.reporter("training", len(loader), self.precision.patience) as self.watch:
            for step, batch in enumerate(self.clock.waiting(loader), self.at.step):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.schedule.lr(self.at.epoch, step, len(loader))
                yield step, batch

    def done(self, step: int, loss: Tensor, meter: Meter) -> None:
        """Count the step, look at its loss now and then, and stop if that was asked for."""
        self.at.step = step + 1
        self.watch(step, loss)
        try:
            self.stop.check()
        except Stopped:
            self.at.rows = self.world.all_reduce_sum(meter.sums).tolist()
            raise

    def keep(self, meter: Meter) -> None:
        """The pass breaks off: what this process counted goes into the checkpoint."""
        self.at.rows = meter.sums.tolist()

    def save(self, name: str = CHECKPOINT) -> None:
        """Write the complete state; the first process does it for all, and all of them must call it."""
        with self.clock.part(WRITING):
            self._save(name)

    def _save(self, name: str) -> None:
        own = {name: buffer.cpu() for name, buffer in running_statistics(self.model).items()}
        everyones = self.world.gather(own) if self.world.size > 1 else []
        if not self.world.is_main:
            return
        state = {
            "kind": self.kind,
            "flags": dict(self.flags),
            "position": vars(self.at),
            "notes": {**self.notes, SECONDS: self.clock.seconds()},
            "model": self.model.state_dict(),
            "statistics_by_rank": everyones,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "extras": {key: extra.state_dict() for key, extra in self.extras.items()},
            **self.facts,
        }
        checkpoint.save(self.log.folder / name, state)

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Put the run back to where the checkpoint was written. Raises CheckpointError."""
        with checkpoint.fitting(path):
            checkpoint.load_weights(self.model, state["model"], path)
            for part in ("optimizer", "extras"):
                checkpoint.require_finite(state[part], part)
            if self.world.size > 1:
                mine = state["statistics_by_rank"][self.world.rank]
                for name, buffer in running_statistics(self.model).items():
                    buffer.copy_(mine[name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.precision.load_state_dict(state["precision"])
            for key, extra in self.extras.items():
                extra.load_state_dict(state["extras"][key])
            self.at, self.notes = Position(**state["position"]), state["notes"]
            self.clock.add(self.notes.pop(SECONDS, {}))
