"""Which switches of a run would make its steps faster on this machine: a short measurement at its end (--advise).

It works on a copy of the network, so that nothing of the run changes: no weight, no random state, no file.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from data.loaders import Batch
from engine.optimizers import make_sgd
from engine.passes import train_pass
from engine.precision import PRECISIONS, Precision, choose_precision
from engine.run_state import Training
from engine.tasks import Task
from utils.runs.clock import ADVICE, DATA, percent
from utils.system.device import compile_blocks, random_state_kept, synchronise
from utils.system.errors import UsageError
from utils.system.signals import Stopped
from utils.system.terminal import reason

ROUNDS, PASSES = 7, 4  # turns of every way: with single steps, with short passes
LONGEST, SMALLEST = 0.5, 8  # seconds of a step: above, half of its images are enough, but for so few
HOPELESS = 3  # times as slow as now
GAIN = 1.05  # of the medians; less is not worth a sentence
WAITING = 5.0  # percent of the time for data, below which no number of workers can help
PASS = 4  # batches of a pass whose workers are measured, after one in which they start
NOW = "as it is"


@dataclass
class Bench:
    """Training steps on a copy of a run's network. ``own``: what the network takes besides images, for each path."""

    training: Training
    task: Task
    own: Sequence[tuple[Any, ...]]
    clip: float | None
    compiled: bool = False
    model: torch.nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.model = copy.deepcopy(self.training.model)
        if self.compiled:
            compile_blocks(self.model)
        self.optimizer = make_sgd(self.model.parameters(), 1e-3, momentum=0.9, weight_decay=0.0)
        self.meter = self.task.meter(self.training.device, self.training.heads)

    def train(self, batches: Sequence[Batch], precision: Precision) -> None:
        """Train on the batches as the run does, and wait until that is done. Raises Stopped where it is asked to."""
        self.training.stop.check()
        train_pass(
            self.model,
            batches,
            self.task,
            arguments=[self.own] * len(batches),
            optimizer=self.optimizer,
            precision=precision,
            meter=self.meter,
            clip=self.clip,
        )
        synchronise(self.training.device)


def advise(
    training: Training,
    task: Task,
    loader: Any,
    own: Sequence[tuple[Any, ...]],
    *,
    clip: float | None,
    workers: int,
    compiles: bool = False,
) -> list[str]:
    """A sentence for every switch that would have helped by more than the noise of the measurement.

    ``own``: what the network takes besides images, for each path of a step. ``workers``: of the run. ``compiles``:
    whether the script has --compile. Several processes would have to measure together: for them there is nothing.
    """
    if training.world.size > 1 or training.precision.name not in PRECISIONS:
        training.log.line("--advise measures nothing in a run of several processes, or by apex")
        return []
    threads = torch.get_num_threads()
    try:
        with training.clock.part(ADVICE), random_state_kept(training.device):
            torch.manual_seed(0)
            bench = Bench(training, task, own, clip, training.compiled)
            said = [*_of_steps(bench, loader, compiles), *_of_workers(bench, loader, workers)]
    except Stopped:
        raise
    except Exception as error:
        training.log.line(f"warning: --advise could not measure: {type(error).__name__}: {reason(error)[:200]}")
        return []
    finally:
        torch.set_num_threads(threads)
    return said or ["Measured by --advise: no switch would have made a step faster by more than its times vary."]


def _of_steps(bench: Bench, loader: Any, compiles: bool) -> Iterator[str]:
    """Sentences on threads, precision and --compile, each by training steps on one batch."""
    training = bench.training
    precision = choose_precision(training.precision.name, training.device)  # without the state of the run
    loader.set_epoch(0)
    batch = next(iter(loader))
    while True:  # the first step may be slower than others: it warms up
        began = time.perf_counter()
        bench.train([batch], precision)
        if time.perf_counter() - began <= LONGEST or len(batch.images) < 2 * SMALLEST:
            break
        half = len(batch.labels) // 2
        shown = half * len(batch.images) // len(batch.labels)  # a label may be of several images, as of tiles
        batch = type(batch)(batch.images[:shown], batch.labels[:half])
    ways = {NOW: partial(bench.train, [batch], precision)}
    for name, other in _precisions(training):
        ways[f"--precision {name}"] = partial(bench.train, [batch], other)
    if training.device.type == "cpu":
        for n in _threads():
            ways[f"OMP_NUM_THREADS={n}"] = partial(_with_threads, n, ways[NOW])
    elif compiles and not training.compiled:
        compiled = Bench(training, bench.task, bench.own, bench.clip, compiled=True)
        compiled.train([batch], precision)  # compiles: up to minutes, and no turn
        ways["--compile"] = partial(compiled.train, [batch], precision)
    yield from sentences(take_turns(ways, ROUNDS), "a training step")


def _of_workers(bench: Bench, loader: Any, workers: int) -> Iterator[str]:
    """A sentence on --workers, where data was waited for and workers read them, by short passes with training steps."""
    read_by = getattr(loader, "read_by", None)
    if percent(bench.training.clock.seconds()).get(DATA, 0) < WAITING or read_by is None or read_by(workers) is None:
        return
    precision = choose_precision(bench.training.precision.name, bench.training.device)
    asked = [n for n in (0, len(_cores())) if n != workers]
    passes = {f"--workers {n}": partial(_pass, bench, loader.read_by(n), precision) for n in asked}
    ways = {NOW: partial(_pass, bench, loader.read_by(workers), precision), **passes}
    yield from sentences(take_turns(ways, PASSES), "a training step with the wait for its batch")


def _pass(bench: Bench, loader: Any, precision: Precision) -> float:
    """Seconds of a step, waiting included, once the first batch is there."""
    loader.set_epoch(0)
    batches = islice(iter(loader), PASS + 1)
    bench.train([next(batches)], precision)
    began, steps = time.perf_counter(), 0
    for batch in batches:
        bench.train([batch], precision)
        steps += 1
    return (time.perf_counter() - began) / max(steps, 1)


def take_turns(ways: Mapping[str, Callable[[], float | None]], rounds: int) -> dict[str, list[float]]:
    """The seconds of every way, or what it returns as such, ``rounds`` times in turn after one that warms up.

    A way that is HOPELESS in that one gets no other turn: it could take minutes, and would not be the faster one.
    """

    def turn(name: str) -> float:
        began = time.perf_counter()
        own = ways[name]()
        return time.perf_counter() - began if own is None else own

    first = {name: turn(name) for name in ways}
    left = [name for name in ways if first[name] <= HOPELESS * first[NOW]]
    times: dict[str, list[float]] = {name: [] for name in left}
    for number in range(rounds):
        for name in left if number % 2 else reversed(left):
            times[name].append(turn(name))
    return times


def sentences(times: Mapping[str, Sequence[float]], what: str) -> Iterator[str]:
    """What is faster than NOW: in its slowest turn than that in its fastest, and by GAIN in the median.

    One turn in seven of each may be an outlier: by chance alone that much is 1.5 % likely with seven turns, as it is
    with four. Of the ways of one switch, the fastest is said.
    """
    now, said = sorted(times[NOW]), {}
    spare = len(now) // 7
    for name, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        ratio = statistics.median(now) / statistics.median(found)
        if name != NOW and sorted(found)[-1 - spare] < now[spare] and ratio >= GAIN:
            switch = name.replace("=", " ").split()[0]
            before, after = (f"{1000 * statistics.median(t):.3g} ms" for t in (now, found))
            text = f"{name} would have helped here: {what} takes {after} with it and {before} without"
            said.setdefault(switch, f"{text} ({ratio:.2g} times as fast, medians of {len(now)} in turn).")
    yield from said.values()


def _precisions(training: Training) -> Iterator[tuple[str, Precision]]:
    """The other precisions that the device has."""
    for name in PRECISIONS:
        if name not in ("auto", training.precision.name):
            try:
                yield name, choose_precision(name, training.device)
            except UsageError:
                continue


def _cores() -> Sequence[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _threads() -> list[int]:
    """Other numbers of threads to try: one, half of the cores, all."""
    cores = len(_cores())
    return sorted({1, max(1, cores // 2), cores} - {torch.get_num_threads()})


def _with_threads(n: int, work: Callable[[], None]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    work()
    torch.set_num_threads(before)
