"""Pieces of a study: made once, in processes of their own, which may die."""

import errno
import os
import signal
from functools import partial

import pytest

from studies.pieces import Piece, make
from utils.system.errors import WorkError
from utils.system.processes import World
from utils.system.signals import Stopped, StopRequest


def number(n: int) -> dict:
    return {"number": n, "process": os.getpid()}


def killed() -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def full_disk() -> dict:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted() -> dict:
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    return {"went": "on"}


def pieces(folder, *works) -> list[Piece]:
    return [Piece(folder / "made" / f"{i}.json", work) for i, work in enumerate(works)]


def made(wanted, jobs=2, stop=None) -> tuple[list[dict], list[str]]:
    lines: list[str] = []
    return make(wanted, jobs=jobs, stop=stop or StopRequest(World()), say=lines.append), lines


def test_what_is_missing_is_made_and_what_is_there_is_kept(tmp_path):
    wanted = pieces(tmp_path, *(partial(number, n) for n in range(5)))
    first, lines = made(wanted[:3])
    assert len(lines) == 3
    assert len({piece["process"] for piece in first}) <= 2
    assert os.getpid() not in {piece["process"] for piece in first}
    again, lines = made(wanted)
    assert again[:3] == first
    assert [piece["number"] for piece in again] == list(range(5))
    assert len(lines) == 2
    assert made(wanted) == (again, [])


@pytest.mark.parametrize(("work", "why"), [(killed, "ended from outside"), (full_disk, "No space left on device")])
def test_a_piece_that_cannot_be_made_ends_the_others_in_one_line_and_keeps_those_that_are(work, why, tmp_path, capfd):
    wanted = pieces(tmp_path, partial(number, 0), work, partial(number, 2))
    with pytest.raises(WorkError, match=f"1.json could not be made: .*{why}"):
        made(wanted, jobs=1)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["0.json"]
    assert capfd.readouterr() == ("", "")


def test_a_stop_keeps_what_is_made(tmp_path):
    stop = StopRequest(World())
    wanted = pieces(tmp_path, *(partial(number, n) for n in range(3)))
    with pytest.raises(Stopped):
        make(wanted, jobs=1, stop=stop, say=lambda _line: stop.note(signal.SIGTERM, None))
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert "0.json" in names
    assert "2.json" not in names
    assert len(made(wanted)[0]) == 3


def test_what_a_terminal_sends_to_all_processes_is_for_the_first_alone(tmp_path, capfd):
    contents, _lines = made(pieces(tmp_path, interrupted, interrupted), jobs=1)
    assert contents == 2 * [{"went": "on"}]
    assert capfd.readouterr().err == ""
