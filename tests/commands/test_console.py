"""Runs whose console, names or decorations are hostile: the work is done all the same."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import loaders, workers
from engine import derivation
from engine.progress import duration, epoch_line
from engine.tasks import base
from tests.harness import FLAGS, finished, metrics, only_run, same_run, start
from utils.reports import plots, report
from utils.reports.log import RunLog
from utils.system.errors import ReadingError

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--image_size", "16", "--no-tensorboard"]
HOSTILE = [b"caf\xe9", b"cost_$5_$10", b"a$$b", "\u82b1".encode()]
PHOTOS = ["--image_size", "65", "--batch_size", "4", "--blocks", "[0]", "--no-tensorboard", "--workers", "1"]


def folders(root: bytes, names: list[bytes], count: int = 4) -> str:
    """Class folders of small pictures; the path as the scripts are given it."""
    rng = np.random.default_rng(0)
    for side in (b"train", b"val"):
        for name in names:
            os.makedirs(os.path.join(root, side, name))
            for i in range(count):
                pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(os.path.join(root, side, name, f"{i}.png".encode()))
    return os.fsdecode(root)


def command(*words, encoding: str = "utf-8", **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(ROOT / "retrainer_cifar.py"), *map(str, words)]
    return subprocess.run(words, env=environment, timeout=120, **options)


def test_names_of_any_bytes_are_trained_on_printed_predicted_and_written(tmp_path):
    data = folders(os.fsencode(tmp_path) + b"/r\xe9al", HOSTILE)
    bad = os.path.join(os.fsencode(data), b"train", HOSTILE[0], b"b\xe4d.png")
    Path(os.fsdecode(bad)).write_bytes(b"nothing")
    flags = [*FLAGS["retrain"], "--data", data, "--batch_size", "8", "--epochs", "1", "--bad_images", "skip"]
    done = command(*flags, "--result", tmp_path, "--export", "pt2", encoding="ascii", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"\\udce4d.png" in done.stdout
    assert not done.stderr
    folder = only_run(tmp_path, "retrain")
    result = json.loads((folder / "result.json").read_text())
    assert result["export"]
    assert "could not be made" not in (folder / "log.txt").read_text(encoding="utf-8")
    assert "udce9" in (folder / "report.md").read_text(encoding="utf-8")
    assert list(json.loads((folder / "measures.json").read_text())["per_class"]) == sorted(map(os.fsdecode, HOSTILE))
    images = os.path.join(data, "val", os.fsdecode(HOSTILE[0]))
    os.rename(os.path.join(os.fsencode(images), b"0.png"), os.path.join(os.fsencode(images), b"\xe9.png"))
    words = ["--evaluate", folder, "--predict", images]
    done = command(*words, encoding="cp1252", capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "predictions.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[2:] == sorted(map(os.fsdecode, HOSTILE))
    assert [row[0] for row in rows] == ["1.png", "2.png", "3.png", os.fsdecode(b"\xe9.png")]


def test_a_reader_that_goes_away_and_a_full_console_end_nothing(tmp_path):
    """Standard output is a pipe that is closed after its first line, standard error a full disk."""
    words = [sys.executable, str(ROOT / "retrainer_cifar.py"), *FLAGS["retrain"], *SMALL, "--epochs", "3"]
    with open("/dev/full", "w") as full:
        child = subprocess.Popen([*words, "--result", str(tmp_path)], stdout=subprocess.PIPE, stderr=full)
        assert child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=120) == 0
    folder = only_run(tmp_path, "retrain")
    assert (folder / "result.json").is_file()
    assert (folder / "log.txt").read_text().count(" epoch ") == 3


CLOSED = """
import os, sys
for number in (1, 2):
    os.close(number)
sys.stdout = sys.stderr = None  # as Python has it when the shell closed them
sys.path.insert(0, {root!r})
from tests.harness import start
os._exit(start("retrain", *{words!r}))
"""


def test_a_process_without_standard_streams_works(tmp_path):
    words = [str(tmp_path), *SMALL, "--epochs", "1"]
    code = CLOSED.format(root=str(ROOT), words=words)
    done = subprocess.run([sys.executable, "-c", code], timeout=120, cwd=ROOT)
    assert done.returncode == 0
    folder = only_run(tmp_path, "retrain")
    torch.load(folder / "checkpoint.pt", weights_only=True)
    assert "epoch 0 of 1" in (folder / "log.txt").read_text()


def test_a_full_standard_output_ends_nothing(tmp_path, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert start("retrain", tmp_path, *SMALL, "--epochs", "1") == 0
    assert (only_run(tmp_path, "retrain") / "result.json").is_file()


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_an_epoch_is_on_disk_before_it_is_announced(kind, tmp_path, monkeypatch):
    saved = []

    def line(log, text, original=RunLog.line):
        if text.startswith("epoch "):
            state = torch.load(log.folder / "checkpoint.pt", weights_only=True)
            saved.append((state["position"]["epoch"], len(metrics(log.folder))))
        original(log, text)

    monkeypatch.setattr(RunLog, "line", line)
    finished(kind, tmp_path, *SMALL, "--epochs", "2")
    assert saved == [(1, 1), (2, 2)]


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_decorations_fail_alone_and_with_a_line(kind, tmp_path, monkeypatch, capsys):
    def broken(*_args, **_named):
        raise RuntimeError("no picture today")

    for module, name in (
        (base, "confusion_figure"),
        (plots, "curves"),
        (plots, "pareto_plot"),
        (plots, "heat_map"),
        (report, "render"),
        (derivation, "_draw"),
    ):
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", broken)
    folder = finished(kind, tmp_path, "--image_size", "16", "--epochs", "2")
    assert (folder / "result.json").is_file()
    assert (folder / ("measures.json" if kind == "retrain" else "genotypes.json")).is_file()
    output = capsys.readouterr()
    assert not output.err
    assert output.out.count("TensorBoard could not be made: RuntimeError: no picture today") == 1
    assert "warning: report.md could not be made" in output.out
    assert start(kind, tmp_path, "--resume", "auto") == 0
    assert "complete: nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_the_result_is_the_last_file_of_a_run(kind, tmp_path):
    folder = finished(kind, tmp_path, *SMALL, "--epochs", "1")
    names = sorted((p for p in folder.iterdir() if p.name != "log.txt"), key=lambda p: p.stat().st_mtime_ns)
    assert names[-1].name == "result.json"
    assert {"report.md", "report.json", "loss.png"} <= {path.name for path in names}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_stops_politely(number, tmp_path):
    """As GNU timeout sends it: to the process and to its group, workers included."""
    data = folders(os.fsencode(tmp_path) + b"/photos", [b"a", b"b"], 8)
    words = [*FLAGS["retrain"], *PHOTOS, "--data", data, "--cache", "none", "--epochs", "1000", "--result", tmp_path]
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "retrainer_cifar.py"), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in child.stdout:
        if line.startswith("epoch 1 "):
            break
    time.sleep(0.05)
    os.kill(child.pid, number)
    os.killpg(child.pid, number)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 128 + number, error
    assert error == f"retrainer_cifar.py: stopped by {number.name}; --resume goes on from here\n"
    state = torch.load(only_run(tmp_path, "retrain") / "checkpoint.pt", weights_only=True)
    assert state["position"]["epoch"] >= 2


def test_a_worker_that_dies_ends_a_run_with_a_checkpoint_of_the_step(tmp_path, monkeypatch, capsys):
    data = folders(os.fsencode(tmp_path) + b"/photos", [b"a", b"b"], 8)
    flags = [*PHOTOS, "--data", data, "--workers", "0", "--epochs", "2"]
    whole = finished("retrain", tmp_path / "whole", *flags)
    capsys.readouterr()
    reads = [0]

    def read(samples, keys, collate, original=workers.read_batches, **options):
        reads[0] += 1
        for number, batch in enumerate(original(samples, keys, collate, **options)):
            if reads[0] == 3 and number == 2:  # training and validation come first
                raise ReadingError("a worker that reads images has died")
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(loaders, "read_batches", read)
        assert start("retrain", tmp_path / "other", *flags) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a worker that reads images has died" in error
    folder = only_run(tmp_path / "other", "retrain")
    position = torch.load(folder / "checkpoint.pt", weights_only=True)["position"]
    assert (position["epoch"], position["phase"], position["step"]) == (1, "train", 2)
    assert start("retrain", tmp_path / "other", *flags, "--resume", "auto") == 0
    same_run(folder, whole, "retrain")


def test_an_epoch_line_says_what_how_well_how_fast_and_how_long():
    record = {
        "shared/loss": 1.25,
        "shared/top1": 40.0,
        "shared/lr": 0.1,
        "valid/loss": 2.0,
        "valid/top1": 51.5,
        "time/images_per_s": 812.3,
        "time/epoch_s": 60.0,
    }
    line = epoch_line(3, 10, record, 6 * 60.0, "top1", " %")
    assert line == "epoch 3 of 10  shared/loss 1.2500  valid/top1 51.50 %  812 images/s  6 min left"
    shown = [duration(seconds) for seconds in (0, 99, 100, 5940, 6000, 172_799, 200_000)]
    assert shown == ["0 s", "99 s", "2 min", "99 min", "1 h 40 min", "2 d 00 h", "2 d 07 h"]


def test_the_time_that_is_left_is_that_of_the_epochs_before(tmp_path, capsys):
    folder = finished("retrain", tmp_path, *SMALL, "--epochs", "2")
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if "  epoch " in line]
    assert len(lines) == 2
    assert lines[-1].endswith("0 s left")
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert lines[0].endswith(f"{duration(first['time/epoch_s'])} left")
    assert f"{first['train/loss']:.4f}" in lines[0]
