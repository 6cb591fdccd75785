"""What both scripts do before and around their work: processes, device, an earlier run, the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.precision import Precision, choose_precision
from engine.schedule import Schedule
from utils.config import CommonConfig
from utils.reports.log import RunLog, make_folder, write_json
from utils.reports.report import RESULT
from utils.runs import resume
from utils.runs.clock import Clock
from utils.runs.same_data import require_same_data
from utils.system.checkpoint import fitting
from utils.system.device import choose_kernels, describe_machine, pick_device
from utils.system.errors import UsageError
from utils.system.files import sweep
from utils.system.lock import FolderLock
from utils.system.processes import World, connected, launched
from utils.system.terminal import show, tell


@dataclass
class Session:
    """One run of a script. ``saved``: the state to go on from, read from ``path``; None in a new run.

    ``held``: what is let go of when the session ends, the lock of the run folder above all.
    """

    kind: str
    config: CommonConfig
    world: World
    device: torch.device
    precision: Precision
    held: ExitStack
    path: Path | None = None
    saved: dict[str, Any] | None = None
    lines: list[str] = field(default_factory=list)
    complete: bool = False
    log: RunLog | None = None
    clock: Clock = field(default_factory=Clock)

    def note(self, text: str) -> None:
        """Say something, in log.txt too: at once, or when there is one."""
        if self.log is not None:
            self.log.line(text)
            return
        if self.world.is_main:
            tell(text)
        self.lines.append(text)

    @property
    def schedule(self) -> Schedule:
        """The learning rates that the flags ask for."""
        c = self.config
        return Schedule(c.lr_schedule, c.epochs, c.child_lr_max, c.child_lr_min, c.child_lr_T_0, c.child_lr_T_mul)

    def is_complete(self) -> bool:
        """Whether the run to go on with has nothing left to do: all epochs, and its result."""
        return self.complete

    def settle(self, refusal: UsageError | None) -> None:
        """Refuse, in all processes, to go on as things are; ``refusal``: of the first, which could not lock the run."""
        if self.saved is None:
            return
        at = [self.saved["position"][key] for key in ("epoch", "phase", "step")]
        complete = at[0] >= self.config.epochs and (self.path.parent / RESULT).is_file()
        self.complete, refused, agreed = self.world.broadcast((complete, refusal and str(refusal), at))
        if self.complete:
            return
        if refused:
            raise UsageError(refused)
        resume.require_same_processes(self.saved, self.world.size)
        if self.world.all_reduce_max(at != agreed):
            raise UsageError(f"{show(self.path)} changed while it was read: try again")

    def require_same_data(self, facts: Mapping[str, Any]) -> None:
        """Refuse data whose content is not what an earlier part of the run had. Raises UsageError."""
        if self.saved is not None:
            with fitting(self.path):
                require_same_data(self.saved, facts, self.path.parent.name)

    def open_run(self, derived: Mapping[str, Any]) -> RunLog:
        """Make the folder of the run, or go on in it, and write config.json. First process only."""
        if not self.world.is_main:
            return RunLog(None)
        config, purge = self.config, None
        if self.saved is None:
            folder = make_folder(config.result, self.kind, config.save)
            self.held.enter_context(FolderLock(folder))
        else:
            folder, purge = self.path.parent, self.saved["position"]["epoch"]
            (folder / RESULT).unlink(missing_ok=True)  # of fewer epochs
            sweep(folder)
            resume.forget_from(folder, purge)
        write_json(
            folder / "config.json",
            {
                "kind": self.kind,
                "defaults": config.defaults(),
                "flags": resume.flags_of(config),
                "derived": derived,
                "processes": self.world.size,
                "precision": self.precision.name,
                "machine": describe_machine(self.device),
            },
        )
        self.log = log = RunLog(folder, tensorboard=config.tensorboard, purge_step=purge)
        for line in self.lines:
            log.detail(line, quiet=True)
        log.line(f"writing to {folder}")
        return log

    def announce(self) -> None:
        """Say where the run goes on, and what a changed number of epochs means for the learning rate."""
        if self.saved is None:
            return
        epoch, before = self.saved["position"]["epoch"], self.saved["flags"]["epochs"]
        text = f"going on with {self.path.parent.name} in epoch {epoch}"
        if self.config.epochs != before and epoch < self.config.epochs:
            lr = self.schedule.lr(epoch)
            text += f"; {self.config.epochs} epochs instead of {before}: the learning rate is now {lr:.6g}"
        self.note(text)


@contextmanager
def session(config: CommonConfig, kind: str) -> Iterator[Session]:
    """Find and lock the earlier run if one is asked for, take the device, connect the processes."""
    clock = Clock()
    world, path, saved, refusal = launched(), None, None, None
    with ExitStack() as held:
        if config.resume:
            path = resume.find_checkpoint(config.resume, config.result, kind, config.save)
        if path is not None and world.is_main:
            try:
                held.enter_context(FolderLock(path.parent))
            except UsageError as error:  # all processes have to hear of it before one of them ends
                refusal = error
        if path is not None:
            saved = resume.read_run(path, kind)  # not before it is locked: the one who writes may just be ending
            with fitting(path):
                config = resume.continued(config, saved)
        device = pick_device(config.device, config.gpu, world.local_rank)
        choose_kernels(deterministic=config.deterministic, tf32=config.tf32)
        precision = choose_precision(config.precision, device, backend=config.amp_backend, opt_level=config.opt_level)
        with connected(world, device):
            run = Session(kind, config, world, device, precision, held, path, saved, clock=clock)
            run.settle(refusal)
            if config.resume and path is None:
                run.note(f"there is no run called {config.save} to go on with: starting one")
            run.announce()
            yield run
