"""A study is made of pieces, each a file that is written once: whoever goes on makes what is missing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ops.genotype import Genotype
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


def key_of(genotype: Genotype) -> str:
    """A short name of a genotype for files."""
    text = json.dumps([genotype.space, genotype.sharing, genotype.to_lists()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def missing(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces that are still to be made."""
    return [piece for piece in pieces if not read_json(piece.path)]


def make(pieces: Sequence[Piece], *, jobs: int, stop: StopRequest, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The contents of all pieces, in order; those that are missing are made, ``jobs`` at a time.

    Stopped, with the pieces that are being made lost and all others kept, when a stop is asked for; WorkError when a
    piece cannot be made.
    """
    waiting = missing(pieces)
    number = len(waiting)
    waiting.reverse()
    workers = [_Worker(max(1, torch.get_num_threads() // jobs)) for _ in range(min(jobs, number))]
    try:
        for worker in workers:
            worker.begin(waiting.pop())
        for done in range(1, number + 1):
            worker = _first_ready(workers, stop)
            say(f"{done} of {number}: {worker.finish().path.name}")
            if waiting:
                worker.begin(waiting.pop())
            else:
                worker.dismiss()
    finally:
        for worker in workers:
            if worker.piece:  # else it was dismissed
                worker.process.terminate()
        for worker in workers:
            worker.process.join()
    return [read_json(piece.path) for piece in pieces]


class _Worker:
    """A process that makes one piece after another."""

    def __init__(self, threads: int) -> None:
        context = _context()
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=_make_all, args=(threads, theirs))
        self.piece: Piece | None = None
        self.process.start()
        theirs.close()

    def begin(self, piece: Piece) -> None:
        """Make this piece."""
        piece.path.parent.mkdir(parents=True, exist_ok=True)
        self.piece = piece
        with suppress(BrokenPipeError):  # it is dead: ``finish`` will say so
            self.line.send(piece)

    def dismiss(self) -> None:
        """There is nothing more to make."""
        self.line.send(None)

    def finish(self) -> Piece:
        """The piece that was made. Raises WorkError where it could not be."""
        try:
            fault = self.line.recv()
        except (EOFError, ConnectionResetError):  # it was killed, for want of memory for example
            self.process.join()
            status = self.process.exitcode
            fault = f"its process ended with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
        if fault:
            raise WorkError(f"{self.piece.path.name} could not be made: {fault}")
        piece, self.piece = self.piece, None
        return piece


def _context() -> Any:
    """Where processes come from: forks of one that has imported everything and has no threads, which can hang them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["studies.frozen", "studies.standalone", "studies.method_runs"])
    return context


def _first_ready(workers: Sequence[_Worker], stop: StopRequest) -> _Worker:
    """Wait for the first worker that has an answer. Raises Stopped."""
    busy = {worker.line: worker for worker in workers if worker.piece}
    while True:
        ready = wait(list(busy), timeout=LOOK_S)
        stop.check()
        if ready:
            return busy[ready[0]]


def _leave_terminal() -> None:
    """Hear no Ctrl-C and no SIGHUP: a terminal sends them to all processes, of which the first one ends the others."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})


def _make_all(threads: int, line: Connection) -> None:
    """The work of a process: pieces come over the line, and what went wrong with each, or None, goes back."""
    _leave_terminal()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    tqdm.set_lock(threading.RLock())  # its own would be left behind by a process that is killed
    torch.set_num_threads(threads)
    with suppress(EOFError, BrokenPipeError):  # the study was killed
        while piece := line.recv():
            fault = None
            try:
                write_json(piece.path, piece.work())
            except Stopped as stop:
                raise SystemExit(128 + stop.number) from None
            except Exception as error:
                fault = reason(error)
            line.send(fault)


def _end_with_parent() -> None:
    """A process whose study was killed makes nothing more: whoever goes on would make the same beside it."""
    multiprocessing.parent_process().join()
    os._exit(1)
