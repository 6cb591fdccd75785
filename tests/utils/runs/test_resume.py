"""Runs that are interrupted and go on: bit for bit as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import sys
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_search_cifar
from tests.harness import finished, metrics, only_run, same_run, start, stop_after, weights
from utils.system import checkpoint

SMALL = ["--image_size", "16", "--train_images", "480", "--no-tensorboard"]
EPOCHS = ["--epochs", "2", *SMALL]
DARTS = "--data digits --train_images 64 --child_out_filters 4 --batch_size 16 --device cpu --image_size 8".split()
DARTS += "--no-tensorboard --space darts --searcher darts --layers 3 --order 2 --valid_steps 1".split()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An uninterrupted run of each script."""
    folders = {}
    for kind in ("search", "retrain"):
        result = tmp_path_factory.mktemp(kind)
        folders[kind] = finished(kind, result, *EPOCHS)
    return folders


STOPS = {  # looks for a signal before which one comes, one stop after the other
    "search": {
        2: signal.SIGTERM,  # among the shared weights
        5: signal.SIGINT,  # in the controller phase
        7: signal.SIGTERM,  # in the report
        10: signal.SIGTERM,  # in the second epoch
        18: signal.SIGTERM,  # in the ranking
    },
    "retrain": {
        2: signal.SIGINT,
        3: signal.SIGTERM,  # after the last step of an epoch, before its evaluation
        5: signal.SIGTERM,  # in its evaluation
        14: signal.SIGINT,  # while the trained network is measured
    },
}


@pytest.mark.parametrize("kind", STOPS)
def test_a_stopped_run_goes_on_bit_for_bit(kind, straight, tmp_path, capsys):
    before, flags = 0, EPOCHS
    for check, number in STOPS[kind].items():
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, check - before, number)
            assert start(kind, tmp_path, *flags) == 128 + number
        [error] = capsys.readouterr().err.splitlines()
        assert number.name in error
        before, flags = check, ["--resume", "auto"]
    assert start(kind, tmp_path, *flags) == 0
    same_run(only_run(tmp_path, kind), straight[kind], kind)


@pytest.fixture
def copied(straight, tmp_path):
    """A function that copies the uninterrupted run of a script."""
    return lambda kind: shutil.copytree(straight[kind], tmp_path / kind / straight[kind].name)


@pytest.mark.parametrize("kind", STOPS)
def test_more_epochs_are_announced_and_a_finished_run_says_so(kind, copied, tmp_path, capsys):
    folder = copied(kind)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert start(kind, tmp_path, "--resume", str(folder), "--epochs", "2") == 0
    assert "complete" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert start(kind, tmp_path, "--resume", str(folder), "--epochs", "3") == 0
    assert "3 epochs instead of 2: the learning rate is now 0.00625" in capsys.readouterr().out
    assert [row["epoch"] for row in metrics(folder)] == [0, 1, 2]
    assert start(kind, tmp_path, "--resume", str(folder), "--epochs", "2") == 2


@pytest.mark.parametrize(
    ("flag", "value", "was"),
    [
        ("--seed", "3", "2"),
        ("--child_out_filters", "6", "4"),
        ("--blocks", "[2]", "(1,)"),
        ("--stem", "full", "quarter"),
        ("--num_class", "11", "10"),
    ],
)
def test_a_flag_that_would_change_the_run_is_refused(flag, value, was, straight, tmp_path, capsys):
    assert start("search", tmp_path, "--resume", str(straight["search"]), flag, value) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert flag in error[0]
    assert was in error[0]


@pytest.mark.parametrize(
    ("flag", "value", "still"),
    [("cost_weight", 0.07, 0.0), ("finals_by", "random", "ranking"), ("path_sampling", "varied", "uniform")],
)
def test_a_run_with_a_flag_that_is_gone_does_not_go_on_without_it(flag, value, still, copied, tmp_path, capsys):
    folder = copied("search")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    config = json.loads((folder / "config.json").read_text())
    for stored, status in ((value, 2), (still, 0)):
        torch.save({**state, "flags": {**state["flags"], flag: stored}}, folder / "checkpoint.pt")
        (folder / "config.json").write_text(json.dumps({**config, "flags": {**config["flags"], flag: stored}}))
        assert start("search", tmp_path, "--resume", str(folder)) == status
        error = capsys.readouterr().err
        assert (f"--{flag} {value}, which is gone" in error) == (status == 2)


def test_curves_do_not_double_back(tmp_path, monkeypatch):
    """An epoch that was logged but not saved is written again: one value a step is left."""
    with monkeypatch.context() as patch:
        saves = [0]

        def failing(path, state, original=checkpoint.save):
            saves[0] += 1
            if saves[0] == 3:  # best.pt and checkpoint.pt of epoch 0 come first
                raise OSError("No space left on device")
            original(path, state)

        patch.setattr(checkpoint, "save", failing)
        assert start("retrain", tmp_path, "--epochs", "3", *SMALL[:-1]) == 1
    folder = finished("retrain", tmp_path, "--resume", "auto")
    assert [row["epoch"] for row in metrics(folder)] == [0, 1, 2]
    events = EventAccumulator(str(folder)).Reload()
    for tag in events.Tags()["scalars"]:
        assert [event.step for event in events.Scalars(tag)] == [0, 1, 2], tag


def test_a_better_epoch_before_the_interruption_stays_the_best(copied, tmp_path):
    folder = copied("retrain")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    state["extras"]["best"] = {"top1": 100.5, "epoch": 0}
    checkpoint.save(folder / "checkpoint.pt", state)
    before = (folder / "best.pt").read_bytes()
    assert start("retrain", tmp_path, "--resume", str(folder), "--epochs", "3") == 0
    assert (folder / "best.pt").read_bytes() == before
    assert json.loads((folder / "report.json").read_text())["best_top1"] == 100.5


def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(straight, tmp_path, capsys):
    whole = (straight["retrain"] / "checkpoint.pt").read_bytes()
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(whole[: len(whole) // 2])
    foreign = tmp_path / "foreign.pt"
    torch.save({"config": random.Random(0)}, foreign)
    for path in (damaged, foreign, straight["search"] / "checkpoint.pt", tmp_path / "none.pt"):
        assert start("retrain", tmp_path, "--resume", str(path)) == 2
        error = capsys.readouterr().err.splitlines()
        assert len(error) == 1
        assert path.name in error[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start a run without importing torch again")
def test_sigkill_never_leaves_a_file_that_does_not_load(tmp_path):
    """A dozen kills at random moments of one run that is taken up again and again."""
    moments = random.Random(0)
    flags = ["--resume", "auto", *SMALL, "--batch_size", "240"]
    began = time.monotonic()
    assert start("retrain", tmp_path, *flags, "--epochs", "1") == 0
    longest = max(0.8, time.monotonic() - began)  # on a slow or busy machine too some epochs are completed
    epochs = 1
    for kill in range(6):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            start("retrain", tmp_path, *flags, "--epochs", "1000")
            os._exit(0)
        time.sleep(moments.uniform(0.2, longest))
        deadline = time.monotonic() + 60
        while kill == 5 and epochs == 1 and time.monotonic() < deadline:  # a busy machine got no epoch done so far
            time.sleep(0.2)
            saved = torch.load(only_run(tmp_path, "retrain") / "checkpoint.pt", weights_only=True)
            epochs = saved["position"]["epoch"]
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        folder = only_run(tmp_path, "retrain")
        for path in folder.glob("*.pt"):
            weights(folder, path.name)
        saved = torch.load(folder / "checkpoint.pt", weights_only=True)["position"]["epoch"]
        assert saved >= epochs  # a kill costs the epoch in progress, never one before it
        epochs = saved
    assert epochs > 1


@pytest.mark.parametrize("kind", STOPS)
def test_the_checkpoint_of_another_run_is_refused_in_a_folder(kind, copied, tmp_path, capsys):
    other = finished(kind, tmp_path / "other", *SMALL, "--epochs", "1", "--seed", "5")
    folder = copied(kind)
    shutil.copy(other / "checkpoint.pt", folder / "checkpoint.pt")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert start(kind, tmp_path, "--resume", str(folder), "--epochs", "3") == 2
    assert "another run than its folder: seed is 5 in it and 2 in config.json" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_flags_that_repeat_those_of_a_run_are_checked_with_them(tmp_path, capsys):
    flags = [*DARTS, "--result", str(tmp_path)]
    assert train_search_cifar.main([*flags, "--epochs", "1"]) == 0
    assert train_search_cifar.main([*flags[-2:], "--resume", "auto", "--order", "2"]) == 0
    with pytest.raises(SystemExit) as end:
        train_search_cifar.main([*flags[-2:], "--resume", "auto", "--order", "1"])
    assert end.value.code == 2
    assert "--order is 1 now but was 2" in capsys.readouterr().err
    assert only_run(tmp_path, "search")
