"""A study is made of pieces, each a file that is written once: whoever goes on makes what is missing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ops.genotype import Genotype
from utils.reports.log import write_json
from utils.system.errors import WorkError
from utils.system.files import read_json
from utils.system.signals import StopRequest
from utils.system.terminal import complain

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


def make(pieces: Sequence[Piece], *, jobs: int, stop: StopRequest, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The contents of all pieces, in order; those that are missing are made, ``jobs`` at a time.

    Stopped, with the pieces that are being made lost and all others kept, when a stop is asked for; WorkError when a
    piece cannot be made.
    """
    missing = [piece for piece in pieces if not read_json(piece.path)]
    threads = max(1, torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")  # forking a process with threads can hang
    running: dict[BaseProcess, Piece] = {}
    waiting = list(reversed(missing))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                piece = waiting.pop()
                piece.path.parent.mkdir(parents=True, exist_ok=True)
                process = context.Process(target=_make_one, args=(piece, threads))
                process.start()
                running[process] = piece
            wait([process.sentinel for process in running], timeout=LOOK_S)
            stop.check()
            for process in [process for process in running if process.exitcode is not None]:
                piece = running.pop(process)
                if not read_json(piece.path):
                    raise WorkError(f"{piece.path.name} could not be made (exit status {process.exitcode})")
                done = len(missing) - len(waiting) - len(running)
                say(f"{done} of {len(missing)}: {piece.path.name}")
    finally:
        _end(running)
    return [read_json(piece.path) for piece in pieces]


def _make_one(piece: Piece, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        write_json(piece.path, piece.work())
    except Exception as error:
        complain(piece.path.name, error)
        raise SystemExit(1) from None


def _end(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
