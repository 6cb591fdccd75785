"""Real processes under torchrun that stop, fail and go on together."""

import os
import shutil

import pytest

from tests.harness import job, metrics, only_run, same_run, start, together, torchrun, torchrun_jobs
from utils.system.lock import FolderLock

SHORT = ["--epochs", "1", "--image_size", "16", "--no-tensorboard"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An epoch of each script in two processes, without a stop: the folders that hold them."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("search", "retrain")}
    done = together(*(job(folder, kind, *SHORT) for kind, folder in folders.items()))
    assert done.returncode == 0, done.stderr
    return folders


def test_two_processes_stop_together_and_go_on_bit_for_bit(straight, tmp_path):
    """The signal reaches one of them only. Every process has its own batch statistics."""
    stopped = torchrun_jobs(*(job(tmp_path, kind, *SHORT, fault="stop") for kind in straight))
    assert stopped.returncode != 0
    for script in ("train_search_cifar.py", "retrainer_cifar.py"):
        assert stopped.stderr.count(f"{script}: stopped by SIGTERM") == 1
    for kind in straight:
        assert not (only_run(tmp_path, kind) / "result.json").exists()
    again = together(*(job(tmp_path, kind, "--resume", "auto") for kind in straight))
    assert again.returncode == 0, again.stderr
    for kind, folder in straight.items():
        same_run(only_run(tmp_path, kind), only_run(folder, kind), kind)


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
