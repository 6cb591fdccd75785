"""Whatever a flag, a path or a checkpoint holds, a command goes on or refuses: status 2, one line, and at once."""

import io
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data import check
from data.prepare import command
from models import cost
from ops import draw
from studies import ranking
from tests.harness import SCRIPTS, TINY_RETRAIN, TINY_SEARCH, only_run, start, stop_after
from tests.odd_values import DELETED, ODD, places, replaced
from utils.config import RetrainConfig, SearchConfig
from utils.config.flags import flags_in
from utils.reports import report
from utils.runs.resume import STATE
from utils.system import checkpoint

FLAGS = {"search": sorted(flags_in(SearchConfig)), "retrain": sorted(flags_in(RetrainConfig))}
TEXTS = ["", " ", "0", "-1", "1", "2", "nan", "inf", "-inf", "1e-300", "1e30", "1000000", "9" * 400, "0x10", "1_0", "٣"]
TEXTS += ["[]", "[0]", "[1,1]", "[1e3]", "{}", "null", "true", "None", "[" * 3000, f"[{'1,' * 3000}1]", '{"a":' * 500]
TEXTS += [
    ".",
    "/",
    "/dev/null",
    "/proc/self/mem",
    "~",
    "~nobody",
    "x" * 5000,
    "a\0b",
    "a\nb",
    "\udce4",
    "花",
    "--epochs",
]
VALUES = st.one_of(st.sampled_from(TEXTS), st.text(max_size=20), st.integers().map(str), st.floats().map(str))


def words(kind: str):
    """Up to three flags with a value each."""
    pair = st.tuples(st.sampled_from(FLAGS[kind]), VALUES).map(lambda pair: f"--{pair[0]}={pair[1]}")
    return st.lists(pair, min_size=1, max_size=3)


def ended(main, words: list[str]) -> tuple[int | None, str]:
    """The status of a command, and what it wrote to standard error."""
    error, status = io.StringIO(), None
    with redirect_stderr(error), redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    return status, error.getvalue()


@pytest.mark.parametrize("kind", SCRIPTS)
def test_no_value_of_any_flag_is_a_fault(kind, tmp_path, monkeypatch):
    """The data are not there, so that a command that takes its flags is refused too."""
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=200, deadline=timedelta(seconds=2), derandomize=True, database=None)
    @given(words(kind))
    def refused(given: list[str]) -> None:
        status, error = ended(SCRIPTS[kind].main, [*given, "--data=nowhere"])
        assert status == 2, error
        assert error.count("\n") == 1
        assert "Traceback" not in error

    refused()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PATHS = ["missing", "empty", "file", "file/below", "dangling", "loop", "pipe", "list.json", "dict.json", "deep.json"]
PATHS += ["folder", "/dev/null", "/dev/zero", "/proc/self/mem", "/sys/kernel", "~nobody", "", "x" * 300, "a/" * 3000]
PATHS += ["a\0b", "\udce4", "-x"]
PREPARED = ("aid", "flowers102", "mit67", "plantvillage")
USES = {  # what takes a path, which is none of these in all cases
    **{f"{kind} --{flag}": (SCRIPTS[kind].main, [f"--{flag}={{}}"]) for kind in SCRIPTS for flag in ("data", "resume")},
    **{f"--task {task}": (SCRIPTS["search"].main, ["--task", task, "--data={}"]) for task in ("segment", "detect")},
    **{f"--dataset {d}": (SCRIPTS["retrain"].main, ["--dataset", d, "--data={}"]) for d in ("folder", "voc")},
    **{f"--{flag}": (SCRIPTS["retrain"].main, [*TINY_RETRAIN, f"--{flag}={{}}"]) for flag in ("arch", "inherit")},
    **{f"--{flag}": (SCRIPTS["retrain"].main, [f"--{flag}={{}}"]) for flag in ("evaluate", "predict")},
    **{f"prepare {name}": (command.main, [name, "--source={}", "--out=out"]) for name in PREPARED},
    "check": (check.main, ["{}"]),
    "report": (report.main, ["{}"]),
    "cost": (cost.main, ["{}"]),
    "draw": (draw.main, ["{}", "-o", "cell.svg"]),
    "ranking": (ranking.main, ["{}"]),
}
# What is written to, at the few places where nothing can be.
WRITTEN = {
    **{f"{kind} --result": (SCRIPTS[kind].main, [*tiny, "--result={}"])
       for kind, tiny in (("search", TINY_SEARCH), ("retrain", TINY_RETRAIN))},
    "auto": (SCRIPTS["search"].main, [*TINY_SEARCH, "--resume=auto", "--result={}"]),
    "prepare --out": (command.main, ["aid", "--source=empty", "--out={}"]),
}  # fmt: skip


def test_no_path_is_a_fault_or_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"file": "text", "list.json": "[]", "dict.json": "{}", "deep.json": "[" * 100_000}.items():
        (tmp_path / name).write_text(text)
    for name in ("empty", "folder/checkpoint.pt", "folder/config.json", "folder/genotypes.json", "folder/train"):
        (tmp_path / name).mkdir(parents=True)
    os.symlink("gone", "dangling")
    os.symlink("loop", "loop")
    os.mkfifo("pipe")
    faults = []
    some = ("file", "file/below", "/sys/kernel", "x" * 300, "a\0b")
    for uses, paths in ((USES, PATHS), (WRITTEN, some)):
        for name, (main, words) in uses.items():
            for path in paths:
                status, error = ended(main, [word.format(path) for word in words])
                refused = (status, error.count("\n")) == (2, 1) or (name == "check" and status == 1)
                if not refused or "Traceback" in error:
                    faults.append(f"{name} {path[:40]!r}: {status} {error[-200:]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_whatever_stands_in_a_checkpoint_is_gone_on_with_or_refused(kind, tmp_path):
    """One that a signal left in the middle of an epoch."""
    flags = ["--epochs", "1", "--train_images", "100", "--batch_size", "25", "--image_size", "16", "--no-tensorboard"]
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3 if kind == "retrain" else 5, signal.SIGTERM)
        start(kind, tmp_path, *flags)
    folder = only_run(tmp_path, kind)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    uses = [["--resume", str(folder)], *([["--evaluate", str(folder)]] if kind == "retrain" else [])]
    odd = [DELETED, *ODD, torch.zeros(2), torch.tensor(float("nan"))]

    @settings(max_examples=8, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from([place for place in places(state) if len(place) < 7]), st.sampled_from(odd))
    def tried(place: tuple, value: object) -> None:
        for path in folder.iterdir():
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        checkpoint.save(folder / "checkpoint.pt", replaced(state, place, value))
        for use in uses:
            status, error = ended(SCRIPTS[kind].main, use)
            assert (status, error.count("\n")) in ((0, 0), (2, 1)), error

    for part in STATE:
        tried = example(place=(part,), value=DELETED)(tried)
    tried()
