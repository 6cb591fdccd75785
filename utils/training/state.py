"""What a search and a retraining share: epochs made of phases, a training pass, and the state to go on from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.reports.log import RunLog
from utils.runs.resume import CHECKPOINT, Position
from utils.system import checkpoint
from utils.system.device import compile_blocks, memory_format, peak_memory, synchronise
from utils.system.errors import ReadingError
from utils.system.processes import World, running_statistics
from utils.system.signals import Stopped, StopRequest, stop_requests
from utils.training.engine import Averages, Criterion, Forward, Meter, NotFiniteError, train_epoch
from utils.training.precision import Precision
from utils.training.progress import Reporter, epoch_line
from utils.training.schedule import Schedule


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
    notes: dict[str, Any] = field(default_factory=dict)  # plain values that outlive an epoch
    seconds: list[float] = field(default_factory=list)  # of the epochs that this process has run
    wrapped: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.model.to(memory_format=memory_format(self.device))
        self.precision.prepare(self.model, self.optimizer)
        if self.compiled:
            compile_blocks(self.model)
        self.wrapped = self.world.wrap(self.model, self.device)

    @property
    def heads(self) -> int:
        return len(self.model.aux_heads)

    def reporter(self, name: str, total: int, patience: int = 1) -> Reporter:
        """Progress of a phase, from the step at which the run stands."""
        title = f"epoch {self.at.epoch} {name}"
        return Reporter(self.log, title, total, self.report_freq, self.at.step, patience=patience)

    def train_pass(
        self,
        loader: Any,
        forward: Forward,
        criterion: Criterion,
        *,
        seed: Callable[[int], int],
        describe: Callable[[int], str],
        clip: float | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Averages:
        """One pass over the loader at the epoch's learning rate, from the step at which the run stands.

        ``seed(step)``: of what the step draws from the global generator. ``describe(step)``: what it trained,
        for the message of NotFiniteError. ``on_step()`` follows every step.
        """
        at = self.at
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr(at.epoch)
        meter = Meter(self.device, self.heads)
        if at.rows and self.world.is_main:
            meter.sums += meter.sums.new_tensor(at.rows)

        def seeded(images: Tensor, step: int) -> tuple[Tensor, Sequence[Tensor]]:
            torch.manual_seed(seed(step))
            return forward(images, step)

        def after_step(step: int, loss: Tensor) -> None:
            on_step()
            at.step = step + 1
            reporter(step, loss)
            try:
                self.stop.check()
            except Stopped:
                at.rows = self.world.all_reduce_sum(meter.sums).tolist()
                raise

        self.model.train()
        loader.set_epoch(at.epoch, at.step)
        try:
            with self.reporter("training", len(loader), self.precision.patience) as reporter:
                train_epoch(
                    loader,
                    seeded,
                    criterion,
                    optimizer=self.optimizer,
                    precision=self.precision,
                    meter=meter,
                    parameters=list(self.model.parameters()),
                    clip=clip,
                    first=at.step,
                    after_step=after_step,
                )
        except ReadingError:
            at.rows = meter.sums.tolist()
            raise
        except NotFiniteError as error:
            raise NotFiniteError(error.step, f"epoch {at.epoch}, {describe(error.step)}") from None
        return meter.read(self.world.all_reduce_sum)

    def run_epoch(self, phases: Mapping[str, Callable[[], None]], num_images: int) -> dict[str, float]:
        """The phases of an epoch from where the run stands; returns what they put on record, and writes it.

        ``num_images``: how many the first phase trains on, for images/s. :meth:`end_epoch` is to follow.
        """
        at, names = self.at, list(phases)
        for name in names[names.index(at.phase or names[0]) :]:
            at.begin(name)
            began = time.perf_counter()
            try:
                phases[name]()
            finally:
                synchronise(self.device)
                seconds = time.perf_counter() - began
                at.record[f"time/{name}_s"] = at.record.get(f"time/{name}_s", 0.0) + seconds
        record = at.record
        record["memory/peak_bytes"] = peak_memory(self.device)
        if self.precision.patience > 1:
            record["time/skipped_steps"] = self.precision.skipped
        record["time/epoch_s"] = sum(record[f"time/{name}_s"] for name in names)
        record["time/images_per_s"] = num_images / record[f"time/{names[0]}_s"]
        self.log.epoch(at.epoch, record)
        at.next_epoch()
        self.world.average_statistics(self.model)
        return record

    def end_epoch(self, record: Mapping[str, float]) -> None:
        """Save, then say how the epoch went: nobody who reads along can lose what is done."""
        self.save()
        self.seconds.append(record["time/epoch_s"])
        left = (self.schedule.epochs - self.at.epoch) * statistics.mean(self.seconds[-5:])
        self.log.line(epoch_line(self.at.epoch - 1, self.schedule.epochs, record, left))

    def run(self, epoch: Callable[[], None], finish: Callable[[], None]) -> None:
        """All epochs that are left, then ``finish``. A polite stop, or a batch that cannot be read, leaves a checkpoint
        of this very step."""
        with stop_requests(self.world) as self.stop:
            try:
                while self.at.epoch < self.schedule.epochs:
                    epoch()
                finish()
            except Stopped:
                self.save()
                raise
            except ReadingError:
                if self.world.size == 1:  # else the other processes wait for this one in the middle of a step
                    self.save()
                raise

    def save(self, name: str = CHECKPOINT) -> None:
        """Write the complete state; the first process does it for all, and all of them must call it."""
        own = {name: buffer.cpu() for name, buffer in running_statistics(self.model).items()}
        everyones = self.world.gather(own) if self.world.size > 1 else []
        if not self.world.is_main:
            return
        state = {
            "kind": self.kind,
            "flags": dict(self.flags),
            "position": vars(self.at),
            "notes": self.notes,
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
