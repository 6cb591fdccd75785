"""Real processes under torchrun that stop, fail and go on together."""

import os
import shutil

import pytest

from tests.harness import metrics, only_run, same_run, start, torchrun
from utils.system.lock import FolderLock


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An epoch of each script in two processes, without a stop: the folders that hold them."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("search", "retrain")}
    for kind, folder in folders.items():
        done = torchrun(folder, kind, "--epochs", "1")
        assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_two_processes_stop_together_and_go_on_bit_for_bit(kind, straight, tmp_path):
    """The signal reaches one of them only. Without --sync_bn, every process has its own batch statistics."""
    stopped = torchrun(tmp_path / "stopped", kind, "--epochs", "1", fault="stop")
    assert stopped.returncode != 0
    assert stopped.stderr.count("stopped by SIGTERM") == 1
    again = torchrun(tmp_path / "stopped", kind, "--resume", "auto")
    assert again.returncode == 0, again.stderr
    same_run(only_run(tmp_path / "stopped", kind), only_run(straight[kind], kind), kind)


def test_an_error_in_one_process_ends_all(tmp_path):
    done = torchrun(tmp_path, "retrain", "--epochs", "2", fault="crash")
    assert done.returncode != 0
    assert "retrainer_cifar.py (process 1): the disk of process 1 broke" in done.stderr
    assert "File " not in done.stderr.split("the disk of process 1 broke")[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a second process that holds a lock")
def test_all_processes_end_when_the_first_may_not_write(straight, tmp_path):
    shutil.copytree(straight["retrain"], tmp_path, dirs_exist_ok=True)
    with FolderLock(only_run(tmp_path, "retrain")):
        done = torchrun(tmp_path, "retrain", "--epochs", "2", "--resume", "auto")
    assert done.returncode != 0
    assert done.stderr.count("another process is writing") == 1
    assert [row["epoch"] for row in metrics(only_run(tmp_path, "retrain"))] == [0]
    alone = start("retrain", tmp_path, "--epochs", "2", "--resume", "auto")
    assert alone == 2, "another number of processes"
