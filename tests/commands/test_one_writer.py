"""One writer for a run folder, and --resume finds the run that is meant; see runs.py."""

import os
import signal

import pytest

from tests.harness import finished, metrics, only_run, start
from utils.runs.resume import CHECKPOINT, find_checkpoint
from utils.system import lock
from utils.system.errors import UsageError
from utils.system.lock import FolderLock
from utils.system.signals import StopRequest

QUICK = ["--no-tensorboard", "--image_size", "16", "--train_images", "200", "--batch_size", "125"]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a second process that holds a lock")


def in_child(body) -> int:
    """Start a process that runs ``body`` and lives until it is killed; its number, once the body is through."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        held = body()  # noqa: F841
        os.write(write, b"!")
        signal.pause()
        os._exit(0)
    assert os.read(read, 1) == b"!"
    return child


def can_lock(folder) -> bool:
    """Whether another process than this one could write there now."""
    child = os.fork()
    if child == 0:
        try:
            FolderLock(folder)
        except UsageError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@forks
@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_second_writer_is_refused_and_goes_on_once_the_first_is_gone(kind, tmp_path, capsys):
    folder = finished(kind, tmp_path, *QUICK, "--epochs", "1")
    child = in_child(lambda: FolderLock(folder))
    try:
        before = {path: path.read_bytes() for path in folder.iterdir()}
        capsys.readouterr()
        assert start(kind, tmp_path, *QUICK, "--epochs", "2", "--resume", "auto") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert folder.name in error
        assert "another process" in error
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        assert start(kind, tmp_path, *QUICK, "--epochs", "1", "--resume", "auto") == 0, "complete: nothing is written"
    finally:
        end(child)
    assert start(kind, tmp_path, *QUICK, "--epochs", "2", "--resume", "auto") == 0
    assert [row["epoch"] for row in metrics(folder)] == [0, 1]


@forks
@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_run_holds_its_folder_from_its_first_step_to_its_end(kind, tmp_path, monkeypatch):
    seen = []

    def check(self, original=StopRequest.check):
        seen.append(can_lock(only_run(tmp_path, kind)))
        original(self)

    monkeypatch.setattr(StopRequest, "check", check)
    folder = finished(kind, tmp_path, *QUICK, "--epochs", "1")
    seen.append(can_lock(folder))
    assert start(kind, tmp_path, *QUICK, "--epochs", "2", "--resume", "auto") == 0
    assert seen.count(True) == 1, "between the two"
    assert can_lock(folder)


@forks
def test_workers_that_outlive_a_killed_run_do_not_hold_its_lock(tmp_path):
    def with_worker():
        held = FolderLock(tmp_path)
        worker = os.fork()
        if worker == 0:
            signal.pause()
        numbers.write_text(str(worker))
        return held

    numbers = tmp_path / "worker"
    child = in_child(with_worker)
    assert not can_lock(tmp_path)
    end(child)
    try:
        assert can_lock(tmp_path)
    finally:
        os.kill(int(numbers.read_text()), signal.SIGKILL)


def test_a_file_system_without_locks_stops_no_run(tmp_path, monkeypatch):
    def none(_file, _how):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "lockf", none)
    with FolderLock(tmp_path):
        pass
    monkeypatch.setattr(lock, "fcntl", None)
    with FolderLock(tmp_path / "anywhere"):
        pass


def runs(base, *names: str) -> None:
    """Run folders, the last of which was written last."""
    for time, name in enumerate(names):
        path = base / "search" / name / CHECKPOINT
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (time, time))


def test_auto_takes_the_very_name_and_the_newest_by_the_time_in_it(tmp_path):
    runs(
        tmp_path,
        "net-2025-03-01-10h00m00s-2",
        "net-2025-03-01-10h00m00s-10",
        "net-2025-03-01-10h00m00s",
        "net-2024-12-31-23h59m59s",
        "net-2048-2026-01-01-00h00m00s",
        "net-2048",
        "net-seed1-2026-01-01-00h00m00s",
        "net-2026-01-01-00h00m00s-old",
        "net-2026-01-01-00h00m00s-2026-01-01-00h00m00s",
        "anet-2026-01-01-00h00m00s",
        "netx2026-01-01-00h00m00s",
        "mnist-0001-2025-01-01-00h00m00s",
    )
    (tmp_path / "search" / "net-2027-01-01-00h00m00s").mkdir()  # killed before its first checkpoint

    def found(save: str) -> str | None:
        path = find_checkpoint("auto", str(tmp_path), "search", save)
        return path and path.parent.name

    assert found("net") == "net-2025-03-01-10h00m00s-10"
    assert found("net-2048") == "net-2048-2026-01-01-00h00m00s"
    assert found("mnist") is None
    assert found("mnist-0001") == "mnist-0001-2025-01-01-00h00m00s"
    assert find_checkpoint("auto", str(tmp_path), "retrain", "net") is None
