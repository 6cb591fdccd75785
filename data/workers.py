"""Reading batches in worker processes, which signals to the whole group do not end and whose faults are one line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from data.decoding import DataError
from utils.system.errors import ReadingError
from utils.system.terminal import reason

POLITE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
REMEDY = "fewer --workers need less memory; in Docker, --shm-size gives workers more of it to share"

Key = Sequence[Any]  # what one batch is made of
Collate = Callable[[list], list[Tensor] | DataError]


def read_batches(
    samples: Dataset, keys: Sequence[Key], collate: Collate, *, workers: int = 0, pin_memory: bool = False
) -> Iterator[list[Tensor]]:
    """The batches of ``keys`` in their order, read by ``workers`` processes, or by this one where there are none.

    Raises DataError for a file that cannot be used, ReadingError where reading fails for another reason, such as a
    worker that is killed.
    """
    loader = DataLoader(
        samples,
        batch_sampler=keys,
        num_workers=min(workers, len(keys)),
        pin_memory=pin_memory,
        collate_fn=partial(_shared, collate),
        worker_init_fn=begin_worker,
        generator=torch.Generator(),  # else a pass takes a number from the global one, which drop path uses
    )
    with _signals_kept_away():
        try:
            batches = iter(loader)
        except OSError as error:
            raise ReadingError(f"workers cannot be started: {reason(error)}") from None
    processes = getattr(batches, "_workers", ())
    try:
        for _ in keys:
            try:
                batch = next(batches)
            except Exception as error:
                raise ReadingError(_explained(error, processes)) from None
            if isinstance(batch, DataError):  # as a value, since an exception would arrive as a traceback
                raise batch
            yield batch
    finally:
        # Also where the reader of these batches stops early.
        if processes:
            batches._shutdown_workers()  # waits for each; then terminates it politely, which workers ignore
        for worker in processes:
            if worker.is_alive():
                worker.kill()


def _shared(collate: Collate, samples: list) -> list[Tensor] | DataError:
    """A batch, of a worker in shared memory already: the thread that sends it would lose it where there is no room."""
    batch = collate(samples)
    if get_worker_info() is None or isinstance(batch, DataError):
        return batch
    return [tensor.share_memory_() for tensor in batch]


def _explained(error: Exception, workers: Sequence) -> str:
    """What an exception of the loader means: a worker that died, or what a worker raised, without its traceback."""
    for worker in workers if "Traceback" not in str(error) else ():
        worker.join(0.5)  # a broken connection tells before the system does
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    if codes:
        ended = signal.strsignal(-codes[0]) if codes[0] < 0 else f"status {codes[0]}"
        return f"a worker that reads images has died ({ended}): {REMEDY}"
    _, by_worker, raised = str(error).rpartition("Original Traceback (most recent call last):\n")
    text = f"{type(error).__name__}: {reason(error)}"
    if by_worker:
        text = " ".join(line for line in raised.splitlines() if not line.startswith(" "))
    return f"reading a batch failed: {text}" + (f"; {REMEDY}" if "shared memory" in text else "")


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
    middle of a step when a worker dies, while the next batch tells the same where the run can be saved.
    """
    main = threading.current_thread() is threading.main_thread()
    child = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, "SIGCHLD") else None
    before = None
    if hasattr(signal, "pthread_sigmask"):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
        if multiprocessing.get_start_method() != "fork":
            resource_tracker.ensure_running()  # starting this helper of Python's unblocks signals
            signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
    try:
        yield
    finally:
        if child is not None:
            signal.signal(signal.SIGCHLD, child)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
