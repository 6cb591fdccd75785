"""Work in pieces, each a file that is written once: whoever goes on makes what is missing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from engine.jobs import starter
from ops.genotype import Genotype
from utils.config import JobsConfig
from utils.reports.log import write_json
from utils.system.errors import WorkError
from utils.system.files import read_json
from utils.system.lock import claimed
from utils.system.processes import World
from utils.system.signals import Stopped, StopRequest
from utils.system.terminal import reason

LOOK_S = 0.1  # how often jobs and stop requests are looked at
TRIES = 2  # of a piece: a job that died may have had bad luck with its machine


@dataclass(frozen=True)
class Piece:
    """A file to be made: ``work()`` gives its content, in any process, so both must be picklable."""

    path: Path
    work: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Workplace:
    """Where pieces are made. ``folder``: of the run, for the files of a cluster. ``say``: takes lines for a person.

    ``apart``: in jobs even where one is made at a time, so that one that dies does not end the run.
    """

    config: JobsConfig
    folder: Path
    world: World
    stop: StopRequest
    say: Callable[[str], None]
    apart: bool = False


Maker = Callable[[Sequence[Piece]], list[dict[str, Any]]]  # :func:`make` at some workplace
Name = TypeVar("Name")


def key_of(genotype: Genotype) -> str:
    """A short name of a genotype for files."""
    text = json.dumps([genotype.space, genotype.sharing, genotype.to_lists()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]  # 48 bits, for some hundred genotypes


def make_rows(rows: Mapping[Name, Sequence[Piece]], make_pieces: Maker) -> dict[Name, list[dict[str, Any]]]:
    """The contents of rows of pieces by name; a piece that is there twice is made once."""
    unique = {piece.path: piece for row in rows.values() for piece in row}
    contents = dict(zip(unique, make_pieces(list(unique.values())), strict=True))
    return {name: [contents[piece.path] for piece in row] for name, row in rows.items()}


def make(pieces: Sequence[Piece], place: Workplace) -> list[dict[str, Any]]:
    """The contents of all pieces, in order, when those that were missing are made.

    Of several processes each takes the next piece that nobody has taken, unless they are made by jobs. Stopped, in all
    processes, when a stop is requested: what is made is kept. WorkError for pieces that could not be made.
    """
    stopped, here = 0, not (place.apart or place.config.cluster or place.config.jobs > 1)
    try:
        if not here and place.world.is_main:
            _make_by_jobs(pieces, place)
        missing = _missing(pieces)
        while missing:
            for piece in missing if here else ():
                _check(place.stop)
                _make(piece, wait=False)
                place.say(f"{len(pieces) - len(_missing(pieces))} of {len(pieces)}: {piece.path.name}")
            _check(place.stop)
            if missing := _missing(pieces):  # another process is at them
                time.sleep(LOOK_S)
    except Stopped as request:
        stopped = request.number
    stopped = place.world.all_reduce_max(stopped)  # all stop together, or the others would wait for this one
    if stopped:
        raise Stopped(stopped)
    return [read_json(piece.path) for piece in pieces]  # from the files: new pieces read as old ones do


def _make_by_jobs(pieces: Sequence[Piece], place: Workplace) -> None:
    """Make what is missing, ``--jobs`` at a time. A piece that fails is tried once more, and the others are made."""
    waiting = deque(_missing(pieces))
    tries, faults, under_way, total, done = Counter(), {}, {}, len(waiting), 0
    modules = sorted({getattr(piece.work, "func", piece.work).__module__ for piece in waiting})
    start = starter(place.config, place.folder, modules)
    try:
        while waiting or under_way:
            while waiting and len(under_way) < place.config.jobs:
                piece = waiting.popleft()
                piece.path.parent.mkdir(parents=True, exist_ok=True)
                under_way[start(partial(_made, piece))] = piece
            time.sleep(LOOK_S)
            _check(place.stop)
            for job in [job for job in under_way if job.done()]:
                piece, fault = under_way.pop(job), job.fault()
                tries[piece.path] += 1
                if fault is None:
                    done += 1
                    place.say(f"{done} of {total}: {piece.path.name}")
                elif tries[piece.path] < TRIES:
                    place.say(f"{piece.path.name} is tried once more: {fault}")
                    waiting.append(piece)
                else:
                    faults[piece.path.name] = fault
    finally:
        for job in under_way:
            job.cancel()
    if faults:
        raise WorkError("; ".join(f"{name} could not be made: {fault}" for name, fault in faults.items()))


def _missing(pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not read_json(piece.path)]  # none is ever half there: see write_json


def _check(stop: StopRequest) -> None:
    """Raise Stopped if a signal reached this process; the others need not be here, as StopRequest.check has it."""
    if stop.number:
        raise Stopped(stop.number)


def _make(piece: Piece, *, wait: bool) -> None:
    """Make a piece, unless it is there. One that another process is making is left to it, or waited for."""
    piece.path.parent.mkdir(parents=True, exist_ok=True)
    with claimed(piece.path, wait=wait) as mine:
        if mine and not read_json(piece.path):
            write_json(piece.path, piece.work())


def _made(piece: Piece) -> str | None:
    """Make a piece in a job; what went wrong with it, as an exception may not be picklable."""
    try:
        _make(piece, wait=True)  # a job of an earlier part of the run may still be at it
    except (Stopped, SystemExit):  # by the run, which waits for nothing
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        return reason(error)
    return None
