"""A study is made of pieces, each a file that is written once: whoever goes on makes what is missing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from utils.reports.log import write_json
from utils.system.errors import WorkError
from utils.system.files import read_json
from utils.system.signals import Stopped, StopRequest
from utils.system.terminal import reason

LOOK_S = 0.5  # how often a stop request is looked for while pieces are made


@dataclass(frozen=True)
class Piece:
    """A file to be made: ``work()`` gives its content, in a process of its own, so both must be picklable."""

    path: Path
    work: Callable[[], Mapping[str, Any]]


Maker = Callable[[Sequence[Piece]], list[dict[str, Any]]]  # :func:`make`, but for its options
Name = TypeVar("Name")


def make_rows(rows: Mapping[Name, Sequence[Piece]], make_pieces: Maker) -> dict[Name, list[dict[str, Any]]]:
    """The contents of rows of pieces by name; a piece that is there twice is made once."""
    unique = {piece.path: piece for row in rows.values() for piece in row}
    contents = dict(zip(unique, make_pieces(list(unique.values())), strict=True))
    return {name: [contents[piece.path] for piece in row] for name, row in rows.items()}


def make(pieces: Sequence[Piece], *, jobs: int, stop: StopRequest, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The contents of all pieces, in order; those that are missing are made, ``jobs`` at a time.

    Stopped, with the pieces that are being made lost and all others kept, when a stop is requested; WorkError when a
    piece cannot be made.
    """
    missing = [piece for piece in pieces if not read_json(piece.path)]  # none is ever half there: see write_json
    if missing:
        others = multiprocessing.active_children()
        threads = max(1, torch.get_num_threads() // jobs)  # together no more than the study may use
        with ProcessPoolExecutor(jobs, _context(), initializer=_prepare_process, initargs=(threads,)) as pool:
            try:
                _make_missing(pool, missing, jobs, stop, say)
            except BaseException:  # nothing more is made; the pool would wait for what is under way
                for process in multiprocessing.active_children():
                    if process not in others:
                        process.terminate()
                raise
    return [read_json(piece.path) for piece in pieces]  # from the files: new pieces read as old ones do


def _make_missing(
    pool: ProcessPoolExecutor, pieces: Sequence[Piece], jobs: int, stop: StopRequest, say: Callable[[str], None]
) -> None:
    """Keep ``jobs`` pieces under way until all are made, and no more: the pool would begin what it has been given."""
    waiting, under_way, done = list(reversed(pieces)), {}, 0  # reversed, since pop takes the last
    while waiting or under_way:
        while waiting and len(under_way) < jobs:
            piece = waiting.pop()
            piece.path.parent.mkdir(parents=True, exist_ok=True)
            under_way[pool.submit(_make_one, piece)] = piece
        # Wakes up for stop requests, though nothing is done.
        ready, _ = wait(under_way, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        stop.check()
        for future in ready:
            fault = _fault_of(future)
            if fault:
                raise WorkError(f"{under_way[future].path.name} could not be made: {fault}")
            done += 1
            say(f"{done} of {len(pieces)}: {under_way.pop(future).path.name}")


def _fault_of(future: Future[str | None]) -> str | None:
    """What went wrong with a piece, in words; None where nothing did."""
    try:
        return future.result()
    except BrokenProcessPool:  # which process it was is not known
        return "its process, or one beside it, was ended from outside, for want of memory for example"


def _make_one(piece: Piece) -> str | None:
    """Make a piece in a process of the pool; what went wrong with it, as an exception may not be picklable."""
    try:
        write_json(piece.path, piece.work())
    except (Stopped, SystemExit):  # by the study, which waits for nothing: the pool would give this process more work
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        return reason(error)
    return None


def _context() -> Any:
    """Where processes come from: forks of one that has imported everything and has no threads, which can hang them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["studies.searches", "studies.trainings"])
    return context


def _prepare_process(threads: int) -> None:
    """Make a process of the pool depend on the study alone, and share the processors with those beside it."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        # A terminal sends Ctrl-C and hang-ups to all processes, of which the first one ends the others.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own would be left behind by a process that is killed
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A process whose study was killed makes nothing more: whoever goes on would make the same beside it."""
    multiprocessing.parent_process().join()
    os._exit(1)
