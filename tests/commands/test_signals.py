"""Real signals to real groups of processes, whatever the command does: what was trained is saved, nothing is left."""

import os
import signal
import sys
import time

import pytest
import torch

from engine.run_state import RunState
from tests.commands.test_console import PHOTOS, folders, fork, forked, status_of
from tests.harness import SCRIPTS, finished, only_run, same_run, start


@pytest.mark.parametrize(
    ("kind", "number", "phase"),
    [
        ("retrain", signal.SIGTERM, "train"),
        ("retrain", signal.SIGINT, "valid"),  # far longer here than training
        ("search", signal.SIGHUP, "weights"),
    ],
)
def test_a_signal_to_the_whole_group_stops_politely_and_the_run_goes_on(kind, number, phase, tmp_path):
    """As GNU timeout sends it: to the process and to its group, workers included."""
    data = folders(os.fsencode(tmp_path) + b"/photos", [b"a", b"b"], 8)
    for i in range(100 if phase == "valid" else 0):
        os.link(f"{data}/val/a/{i % 8}.png", f"{data}/val/a/more-{i}.png")
    flags = [*PHOTOS, "--data", data, "--cache", "none", "--epochs", "2"]
    (out, written), (errors, complained) = os.pipe(), os.pipe()

    def prepare() -> None:
        os.setsid()
        sys.stdout, sys.stderr = os.fdopen(written, "w"), os.fdopen(complained, "w")
        enters = RunState.enters
        RunState.enters = lambda run, name: run.log.line(f"{run.position.epoch} {name}") or enters(run, name)

    child = forked(prepare, kind, tmp_path, *flags)
    os.close(written)
    os.close(complained)
    with os.fdopen(out) as lines, os.fdopen(errors) as complaints:
        assert any(line.startswith(f"1 {phase}") for line in lines)
        time.sleep(0.1)
        os.kill(child, number)
        os.killpg(child, number)
        assert not [line for line in lines if line.startswith("epoch ")], "it did not wait for the end of the phase"
        error = complaints.read()
    assert status_of(child) == 128 + number, error
    assert error == f"{SCRIPTS[kind].__name__}.py: stopped by {number.name}; --resume goes on from here\n"
    position = torch.load(only_run(tmp_path, kind) / "checkpoint.pt", weights_only=True)["position"]
    assert (position["epoch"], position["phase"]) == (1, phase)
    assert ("train/loss" in position["epoch_metrics"]) == (phase == "valid")
    if phase == "valid":  # what training gave is saved
        assert start(kind, tmp_path, *flags, "--resume", "auto") == 0
        same_run(only_run(tmp_path, kind), finished(kind, tmp_path / "straight", *flags), kind)


def is_empty(group: int) -> bool:
    """Whether nobody of a group of processes is left, after a moment."""
    time.sleep(0.1)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("use", "number"), [("--data", signal.SIGTERM), ("--predict", signal.SIGINT)])
def test_a_signal_to_the_whole_group_ends_an_evaluation_without_leftovers(use, number, tmp_path, monkeypatch):
    """While pictures are read by another process, or are predicted."""
    data = folders(os.fsencode(tmp_path) + b"/photos", [b"a", b"b"], 8)
    run = finished("retrain", tmp_path, *PHOTOS, "--data", data, "--epochs", "1")
    for i in range(6000):  # far more than are read before the signal comes, however busy the machine is
        os.link(f"{data}/val/a/0.png", f"{data}/val/a/more-{i}.png")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    (out, written), (errors, complained) = os.pipe(), os.pipe()

    def evaluate() -> int:
        os.setsid()
        sys.stdout, sys.stderr = os.fdopen(written, "w"), os.fdopen(complained, "w")
        flags = ["--batch_size", "4", "--workers", "1", "--cache", "none", use, data]
        return SCRIPTS["retrain"].main(["--evaluate", str(run), *flags])

    child = fork(evaluate)
    os.close(written)
    os.close(complained)
    with os.fdopen(out) as lines, os.fdopen(errors) as complaints:
        if use == "--data":  # the last line before pictures are read
            assert any(line.startswith("no image was checked") for line in complaints)
        else:
            assert "0.png: " in lines.readline()
        os.killpg(child, number)
        assert complaints.read() == f"retrainer_cifar.py: stopped by {number.name}\n"
    assert status_of(child) == 128 + number
    assert any(is_empty(child) for _ in range(600)), "workers end once they have seen that they are alone"
    assert not list(work.iterdir())
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before
