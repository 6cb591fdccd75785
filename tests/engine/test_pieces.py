"""Pieces: made once, here or in jobs of their own, which may die."""

import errno
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from engine.pieces import Piece, Workplace, make
from utils.config import JobsConfig
from utils.system.errors import WorkError
from utils.system.processes import World
from utils.system.signals import Stopped, StopRequest

pytestmark = pytest.mark.usefixtures("server_of_jobs")


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


def made(wanted, jobs=2, stop=None, **options) -> tuple[list[dict], list[str]]:
    lines: list[str] = []
    config = JobsConfig(jobs=jobs, **options)
    folder = wanted[0].path.parent.parent
    place = Workplace(config, folder, World(), stop or StopRequest(World()), lines.append, apart=True)
    return make(wanted, place), lines


def test_what_is_missing_is_made_and_what_is_there_is_kept(tmp_path):
    wanted = pieces(tmp_path, *(partial(number, n) for n in range(5)))
    first, lines = made(wanted[:3])
    assert len(lines) == 3
    assert os.getpid() not in {piece["process"] for piece in first}
    again, lines = made(wanted)
    assert again[:3] == first
    assert [piece["number"] for piece in again] == list(range(5))
    assert len(lines) == 2
    assert made(wanted) == (again, [])


@pytest.mark.parametrize(("work", "why"), [(killed, "ended from outside"), (full_disk, "No space left on device")])
def test_a_piece_that_fails_twice_is_named_in_one_line_and_the_others_are_made(work, why, tmp_path, capfd):
    wanted = pieces(tmp_path, partial(number, 0), work, partial(number, 2))
    with pytest.raises(WorkError, match=f"1.json could not be made: .*{why}"):
        made(wanted, jobs=1)
    assert sorted(path.name for path in (tmp_path / "made").glob("*.json")) == ["0.json", "2.json"]
    assert capfd.readouterr() == ("", "")


def dies_once(trace: Path) -> dict:
    if not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"lived": "the second time"}


@pytest.mark.parametrize("cluster", [None, "local"])
def test_a_job_that_dies_is_tried_once_more(cluster, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0.1)  # it waits 15 s for slow file systems
    wanted = pieces(tmp_path, partial(dies_once, tmp_path / "died"), partial(number, 1))
    contents, lines = made(wanted, cluster=cluster)
    assert contents[0] == {"lived": "the second time"}
    assert contents[1]["number"] == 1
    assert [line for line in lines if line.startswith("0.json is tried once more")]
    assert capfd.readouterr().err == ""


def meets(mine: Path, theirs: Path) -> dict:
    """Wait for the other one: both are at work at once, or none ends."""
    mine.touch()
    while not theirs.exists():
        time.sleep(0.05)
    return {"met": True}


@pytest.mark.parametrize("cluster", [None, "local"])
def test_two_jobs_are_at_work_at_once(cluster, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    contents, _lines = made(pieces(tmp_path, partial(meets, a, b), partial(meets, b, a)), cluster=cluster)
    assert contents == 2 * [{"met": True}]


def counted(trace: Path) -> dict:
    with open(trace, "a") as file:
        file.write("made\n")
    time.sleep(0.3)
    return {"done": True}


def test_two_runs_on_one_folder_make_no_piece_twice(tmp_path):
    wanted = pieces(tmp_path, *(partial(counted, tmp_path / f"trace{i}") for i in range(4)))
    place = Workplace(JobsConfig(), tmp_path, World(), StopRequest(World()), print)
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=make, args=(wanted, place)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert [(tmp_path / f"trace{i}").read_text() for i in range(4)] == 4 * ["made\n"]


def test_a_stop_keeps_what_is_made(tmp_path):
    stop = StopRequest(World())
    wanted = pieces(tmp_path, *(partial(number, n) for n in range(3)))
    place = Workplace(JobsConfig(), tmp_path, World(), stop, lambda _: stop.note(signal.SIGTERM, None), apart=True)
    with pytest.raises(Stopped):
        make(wanted, place)
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert "0.json" in names
    assert "2.json" not in names
    assert len(made(wanted)[0]) == 3


def test_what_a_terminal_sends_to_all_processes_is_for_the_first_alone(tmp_path, capfd):
    contents, _lines = made(pieces(tmp_path, interrupted, interrupted), jobs=1)
    assert contents == 2 * [{"went": "on"}]
    assert capfd.readouterr().err == ""
