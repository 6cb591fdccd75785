"""Reading batches in worker processes, which signals to the whole group do not end and whose faults are one line."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from data.decoding import DataError
from utils.system.errors import ReadingError
from utils.system.signals import STOPPING, handled_by
from utils.system.terminal import reason

POLITE = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]
REMEDY = "fewer --workers need less memory; in Docker, --shm-size gives workers more of it to share"

Key = Sequence[Any]  # what one batch is made of


class Batches(Dataset):
    """A batch by the keys of its samples, or what reading it raised: out of a worker it would come as a traceback."""

    def __init__(self, samples: Dataset, collate: Callable[[list], list[Tensor]]) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, key: Key) -> list[Tensor] | DataError | ReadingError:
        try:
            batch = self.collate([self.samples[k] for k in key])
            # Shared here: the thread that sends a batch would lose it where there is no room.
            return batch if get_worker_info() is None else [tensor.share_memory_() for tensor in batch]
        except DataError as error:
            return error
        except Exception as error:
            text = f"reading a batch failed: {type(error).__name__}: {reason(error)}"
            return ReadingError(f"{text}; {REMEDY}" if "shared memory" in text else text)


def read_batches(
    samples: Dataset,
    keys: Sequence[Key],
    collate: Callable[[list], list[Tensor]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[list[Tensor]]:
    """The batches of ``keys`` in their order, read by ``workers`` processes, or by this one where there are none.

    Raises DataError for a file that cannot be used, ReadingError where reading fails for another reason, such as a
    worker that is killed.
    """
    loader = DataLoader(
        Batches(samples, collate),
        batch_size=None,  # a key is a batch already
        sampler=keys,
        num_workers=min(workers, len(keys)),
        pin_memory=pin_memory,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else a pass takes a number from the global one, which drop path uses
    )
    # torch's handler of SIGCHLD goes again: it would raise in the middle of a step when a worker dies, while the next
    # batch tells the same where the run can be saved.
    with handled_by(signal.SIG_DFL, "SIGCHLD"), _signals_kept_away():
        batches = iter(loader)
    try:
        for _ in keys:
            try:
                batch = next(batches)
            except Exception:  # no exception of a sample, which would be a value
                raise ReadingError(f"a worker that reads images has died: {REMEDY}") from None
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        del batches  # which ends the workers, also where the reader of these batches stops early


def ignore_signals(_number: int) -> None:
    """Make a new worker ignore what asks the whole group of processes to stop: the main one finishes its step first."""
    for number in POLITE:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _signals_kept_away() -> Iterator[None]:
    """Start workers with these signals blocked, which they inherit; this process gets one that comes a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
