"""Runs whose console, names or decorations are hostile: the work is done all the same."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import loaders, workers
from engine.progress import duration
from engine.tasks import base
from ops import draw
from tests.conftest import paint
from tests.harness import ROOT, SCRIPTS, finished, metrics, only_run, same_run, start
from utils.reports import plots, report
from utils.reports.log import RunLog
from utils.system.errors import ReadingError

SMALL = ["--image_size", "16", "--train_images", "320", "--no-tensorboard"]
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
                Image.fromarray(pixels).save(os.path.join(root, side, name, f"{i}.png".encode()), "PNG")
    return os.fsdecode(root)


def fork(work: Callable[[], int]) -> int:
    """Do some work in a process of its own, which ends with its status whatever happens; its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = work()
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def forked(prepare: Callable[[], object], kind: str, *words: str) -> int:
    """Run a script in a process of its own, whose streams ``prepare`` arranges; its number."""
    return fork(lambda: prepare() or start(kind, *words))


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def console(encoding: str) -> io.TextIOWrapper:
    """A standard output that has few letters and refuses all others."""
    return io.TextIOWrapper(io.BytesIO(), encoding)


def close_streams() -> None:
    for number in (1, 2):
        os.close(number)
    sys.stdout = sys.stderr = None  # as Python has it when the shell closed them


def fill_output() -> None:
    sys.stdout = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


def test_names_of_any_bytes_are_trained_on_printed_predicted_and_written(tmp_path, monkeypatch, capsys):
    paint(monkeypatch)
    data = folders(os.fsencode(tmp_path) + b"/r\xe9al", HOSTILE)
    bad = os.path.join(os.fsencode(data), b"train", HOSTILE[0], b"b\xe4d.png")
    Path(os.fsdecode(bad)).write_bytes(b"nothing")
    monkeypatch.setattr(sys, "stdout", console("ascii"))
    flags = ["--data", data, "--batch_size", "8", "--blocks", "[0]", "--epochs", "1", "--bad_images", "skip"]
    folder = finished("retrain", tmp_path, *flags, "--export", "pt2")
    assert b"\\udce4d.png" in sys.stdout.buffer.getvalue()
    result = json.loads((folder / "result.json").read_text())
    assert result["export"]
    assert "could not be made" not in (folder / "log.txt").read_text(encoding="utf-8")
    assert "udce9" in (folder / "report.md").read_text(encoding="utf-8")
    assert list(json.loads((folder / "measures.json").read_text())["per_class"]) == sorted(map(os.fsdecode, HOSTILE))
    images = os.path.join(data, "val", os.fsdecode(HOSTILE[0]))
    os.rename(os.path.join(os.fsencode(images), b"0.png"), os.path.join(os.fsencode(images), b"\xe9.png"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", console("cp1252"))
    assert SCRIPTS["retrain"].main(["--evaluate", str(folder), "--predict", images]) == 0
    assert not capsys.readouterr().err
    with open(tmp_path / "predictions.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[2:] == sorted(map(os.fsdecode, HOSTILE))
    assert [row[0] for row in rows] == ["1.png", "2.png", "3.png", os.fsdecode(b"\xe9.png")]


def test_the_printed_command_works_in_the_folder_where_it_was_printed(tmp_path, monkeypatch, capsys):
    """Pasted into a shell, which takes it apart."""
    monkeypatch.chdir(tmp_path)
    data = folders(b"it's a caf\xe9 for $HOME", [b"a", b"b"], 6)
    small = ["--blocks", "[0]", "--batch_size", "4", "--epochs", "1", "--no-tensorboard"]
    sizes = ["--child_out_filters", "4", "--controller_steps", "1", "--valid_steps", "0", "--derive_samples", "1"]
    assert SCRIPTS["search"].main(["--data", data, "--save", "it's", *small, *sizes]) == 0
    [line] = [text for text in capsys.readouterr().out.splitlines() if text.startswith("retrain it with:")]
    shell = ["bash", "-c", f"printf '%s\\0' {line.partition(':')[2]}"]
    python, script, *words = subprocess.run(shell, capture_output=True, check=True).stdout.split(b"\0")[:-1]
    assert (python, os.path.realpath(script)) == (b"python", os.fsencode(ROOT / "retrainer_cifar.py"))
    assert SCRIPTS["retrain"].main([*map(os.fsdecode, words), *small[2:]]) == 0
    assert (only_run(tmp_path / "result", "retrain") / "result.json").is_file()


def test_a_reader_that_goes_away_and_a_full_console_end_nothing(tmp_path):
    """Standard output is a pipe that is closed after its first line, standard error a full disk."""
    read, write = os.pipe()

    def prepare() -> None:
        os.close(read)
        fill_output()
        sys.stdout, sys.stderr = os.fdopen(write, "w"), sys.stdout

    child = forked(prepare, "retrain", tmp_path, *SMALL, "--epochs", "2")
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.readline()
    assert status_of(child) == 0
    folder = only_run(tmp_path, "retrain")
    assert (folder / "result.json").is_file()
    assert (folder / "log.txt").read_text().count(" epoch ") == 2


@pytest.mark.parametrize("prepare", [close_streams, fill_output], ids=["closed", "full"])
def test_a_process_without_standard_streams_works(prepare, tmp_path):
    assert status_of(forked(prepare, "retrain", tmp_path, *SMALL, "--epochs", "1")) == 0
    folder = only_run(tmp_path, "retrain")
    assert (folder / "result.json").is_file()
    torch.load(folder / "checkpoint.pt", weights_only=True)
    assert "epoch 0 of 1" in (folder / "log.txt").read_text()


@pytest.fixture(scope="module", params=["search", "retrain"])
def watched(request, tmp_path_factory):
    """A run of two epochs, and how many were on disk whenever one was announced."""
    saved = []

    def line(log, text, original=RunLog.line):
        if text.startswith("epoch "):
            state = torch.load(log.folder / "checkpoint.pt", weights_only=True)
            saved.append((state["position"]["epoch"], len(metrics(log.folder))))
        original(log, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "line", line)
        return finished(request.param, tmp_path_factory.mktemp("watched"), *SMALL, "--epochs", "2"), saved


def test_an_epoch_is_on_disk_before_it_is_announced(watched):
    assert watched[1] == [(1, 1), (2, 2)]


def test_the_result_is_the_last_file_of_a_run(watched):
    names = sorted((p for p in watched[0].iterdir() if p.name != "log.txt"), key=lambda p: p.stat().st_mtime_ns)
    assert names[-1].name == "result.json"
    assert {"report.md", "report.json", "loss.png"} <= {path.name for path in names}


def test_the_time_that_is_left_is_that_of_the_epochs_before(watched):
    lines = [line for line in (watched[0] / "log.txt").read_text().splitlines() if "  epoch " in line]
    assert len(lines) == 2
    assert lines[-1].endswith("0 s left")
    first = json.loads((watched[0] / "metrics.jsonl").read_text().splitlines()[0])
    assert lines[0].endswith(f"{duration(first['time/epoch_s'])} left")
    assert f"{first.get('train/loss', first.get('shared/loss')):.4f}" in lines[0]


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_decorations_fail_alone_and_with_a_line(kind, tmp_path, monkeypatch, capsys):
    def broken(*_args, **_named):
        raise RuntimeError("no picture today")

    for module, name in (
        (base, "confusion_figure"),
        (plots, "panels"),
        (plots, "heat_map"),
        (report, "render"),
        (draw, "draw"),
    ):
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", broken)
    folder = finished(kind, tmp_path, *SMALL[:-1], "--epochs", "2")
    assert (folder / "result.json").is_file()
    assert (folder / ("measures.json" if kind == "retrain" else "genotypes.json")).is_file()
    output = capsys.readouterr()
    assert not output.err
    assert output.out.count("TensorBoard could not be made: RuntimeError: no picture today") == 1
    assert "warning: report.md could not be made" in output.out
    assert start(kind, tmp_path, "--resume", "auto") == 0
    assert "complete: nothing to do" in capsys.readouterr().out


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
