"""Reading batches in worker processes, so that no signal, lack of shared memory or death of a worker ends a run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from data.images import DataError
from utils.system.errors import ReadingError
from utils.system.terminal import reason, tell

POLITE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
PREFETCH = 2  # batches that wait for each worker: torch's default
DEATHS = 3  # in a row, without a batch between them
SHARED = "/dev/shm"

Key = Sequence[Any]  # what one batch is made of


class Failure(NamedTuple):
    """What went wrong in a worker, as a value: raised there, it would arrive as a traceback."""

    text: str
    shared_memory: bool


class Batches(Dataset):
    """Whole batches by key, ready to be handed over: tensors, a DataError, or a Failure."""

    def __init__(self, samples: Dataset, collate: Callable[[list], list[Tensor] | DataError]) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, key: Key) -> list[Tensor] | DataError | Failure:
        try:
            batch = self.collate([self.samples[one] for one in key])
        except MemoryError:
            return Failure("there is not enough memory", shared_memory=False)
        except Exception as error:
            return Failure(f"{type(error).__name__}: {reason(error)}", shared_memory="shared memory" in str(error))
        if get_worker_info() is None or isinstance(batch, DataError):
            return batch
        try:  # here, not in the thread that sends: a batch that it loses would be waited for without end
            return [tensor.share_memory_() for tensor in batch]
        except (RuntimeError, OSError) as error:
            return Failure(reason(error), shared_memory=True)


class Died(Exception):
    """A worker is no more; ``shared_memory``: because there was too little of it."""

    def __init__(self, text: str, *, shared_memory: bool) -> None:
        super().__init__(text)
        self.shared_memory = shared_memory


class Reader:
    """Reads batches in ``workers`` processes, or in this one where there are none.

    Where workers cannot go on it reads without them and says so by ``note``, in one line. ``processes``: how many
    share this machine. ``shared``: the mount through which workers hand over tensors.
    """

    def __init__(
        self,
        workers: int,
        *,
        pin_memory: bool = False,
        processes: int = 1,
        note: Callable[[str], object] = tell,
        shared: str = SHARED,
    ) -> None:
        self.workers, self.pin_memory, self.processes = workers, pin_memory, processes
        self.note, self.shared = note, shared

    def read(self, batches: Batches, keys: Sequence[Key], batch_bytes: int) -> Iterator[list[Tensor]]:
        """The batches of ``keys`` in their order, each once, whatever happens to workers.

        Raises DataError for a file that cannot be used, ReadingError where reading fails for another reason.
        """
        self._fit(min(self.workers * PREFETCH, len(keys)) * batch_bytes)
        done, deaths = 0, 0
        while done < len(keys):
            try:
                for batch in self._pass(batches, keys[done:]):
                    yield batch
                    done, deaths = done + 1, 0
            except Died as death:
                deaths += 1
                if death.shared_memory:
                    self._without(f"a worker found no more shared memory in {self.shared} ({death})")
                elif deaths == DEATHS:
                    raise ReadingError(
                        f"{deaths} times in a row a worker that reads images {death} before there was a batch; fewer "
                        "--workers need less memory"
                    ) from None
                else:
                    self.note(f"warning: a worker that reads images {death}; its batches are read again")

    def _fit(self, needed: int) -> None:
        """No workers where shared memory has no room for the bytes that wait there; asked before each pass."""
        try:
            found = os.statvfs(self.shared)
        except (OSError, AttributeError):  # not on every system
            return
        free = found.f_bavail * found.f_frsize // self.processes
        if needed > free:
            room = f"{needed / 1e6:.0f} MB in {self.shared}, and {free / 1e6:.0f} MB are left"
            self._without(f"{self.workers} workers need {room}")

    def _without(self, why: str) -> None:
        self.workers = 0
        self.note(f"warning: {why}: images are read without workers from here on (in Docker, --shm-size helps)")

    def _pass(self, batches: Batches, keys: Sequence[Key]) -> Iterator[list[Tensor]]:
        """The batches as long as nothing dies. Raises Died, DataError or ReadingError."""
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=keys,
            num_workers=min(self.workers, len(keys)),
            pin_memory=self.pin_memory,
            collate_fn=_as_it_is,
            worker_init_fn=begin_worker,
            generator=torch.Generator(),  # else a pass takes a number from the global one, which drop path uses
        )
        with _signals_kept_away():
            try:
                iterator = iter(loader)
            except OSError as error:
                raise ReadingError(f"workers cannot be started: {reason(error)}") from None
        workers = getattr(iterator, "_workers", ())
        try:
            for _ in keys:
                try:
                    batch = next(iterator)
                except Exception as error:
                    raise _explained(error, workers) from None
                if isinstance(batch, DataError):
                    raise batch
                if isinstance(batch, Failure):
                    if batch.shared_memory:
                        raise Died(batch.text, shared_memory=True)
                    raise ReadingError(f"reading a batch failed: {batch.text}")
                yield batch
        finally:
            shut = getattr(iterator, "_shutdown_workers", None)
            if shut is not None:
                shut()  # waits for each; then asks politely, which they are deaf to
            for worker in workers:
                if worker.is_alive():
                    worker.kill()


def _explained(error: Exception, workers: Sequence) -> Exception:
    """What an exception of the loader means: a worker that died, or something else."""
    ended = wait([worker.sentinel for worker in workers], timeout=2)  # a broken connection tells before the system does
    for worker in workers:
        if worker.sentinel in ended:
            worker.join(2)
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    if not codes:
        return ReadingError(f"reading a batch failed: {type(error).__name__}: {reason(error)[:200]}")
    number = -codes[0]
    if number <= 0:
        return Died(f"ended with status {codes[0]}", shared_memory=False)
    known = number in set(signal.Signals)
    text = f"was killed by {signal.Signals(number).name if known else number}"
    return Died(text, shared_memory=number == getattr(signal, "SIGBUS", None))  # a page that the mount had not


def begin_worker(_number: int) -> None:
    """Make a new worker ignore the signals that ask the whole process group to stop.

    They are meant for the main process, which finishes its step first.

    A worker ends when the main process shuts it down or is gone. torch has it look for its parent too, but with
    forkserver that is the server, which stays as long as it has a child.
    """
    for number in POLITE:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(), os.getppid()), daemon=True).start()


def _end_with(main: Any, parent: int) -> None:
    while os.getppid() == parent and main.is_alive():
        time.sleep(1)
    os._exit(1)


@contextmanager
def _signals_kept_away() -> Iterator[None]:
    """Start workers with polite signals blocked, which they inherit: one may come before they can ignore it.

    It reaches this process a moment later. And torch's handler of SIGCHLD is taken away again: it would raise in the
    middle of whatever is computed when a worker dies, while the next batch tells the same at a place that can help.
    """
    main = threading.current_thread() is threading.main_thread()
    child = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, "SIGCHLD") else None
    before = None
    if hasattr(signal, "pthread_sigmask"):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
        if multiprocessing.get_start_method() != "fork":
            resource_tracker.ensure_running()  # starting this helper of Python's unblocks signals behind our back
            signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
    try:
        yield
    finally:
        if child is not None:
            signal.signal(signal.SIGCHLD, child)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(batch: Any) -> Any:
    return batch
