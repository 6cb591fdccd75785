"""The one harness of the tests: it starts both scripts with small settings, stops them, and reads what they leave."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import retrainer_cifar
import train_search_cifar
from tests.forks import forked
from utils.system.signals import StopRequest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {"search": train_search_cifar, "retrain": retrainer_cifar}
TINY = ["--data", "digits", "--blocks", "[1]", "--child_out_filters", "4", "--batch_size", "128", "--epochs", "2"]
TINY += ["--train_images", "640"]
TINY_SEARCH = [*TINY, "--controller_steps", "2", "--valid_steps", "1", "--derive_samples", "3", "--device", "cpu"]
TINY_RETRAIN = [*TINY, "--stem", "quarter", "--device", "cpu"]


def in_subprocess(words: list[str]) -> str:
    """Run ``python <words>`` in the repository as a user would; its standard output. It must succeed quietly."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def run(kind: str, result: Path, *flags: str) -> Path:
    """Run a script in this process; the folder that it wrote."""
    before = set(result.glob(f"{kind}/*"))
    tiny = {"search": TINY_SEARCH, "retrain": TINY_RETRAIN}[kind]
    assert SCRIPTS[kind].main([*tiny, "--result", str(result), *flags]) == 0
    [folder] = set(result.glob(f"{kind}/*")) - before
    return folder


def genotypes(folder: Path) -> dict:
    """genotypes.json without the commands, which name the folder."""
    document = json.loads((folder / "genotypes.json").read_text())
    for candidate in document["candidates"]:
        candidate.pop("retrain")
    return document


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: for each tag (step, value)."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def pictures(folder: Path, tag: str) -> list:
    """The pictures of a tag in TensorBoard."""
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload().Images(tag)


def printed_command(output: str) -> list[str]:
    """The retrain command that a search printed, as words."""
    [line] = [line for line in output.splitlines() if line.startswith("retrain it with:")]
    return shlex.split(line.partition(":")[2])


def refusal(kind: str, capsys, *flags: str, lines: int = 1) -> str:
    """Run a script that must refuse: exit status 2 and one line, or ``lines``, which are returned."""
    status = None
    try:
        SCRIPTS[kind].main(list(flags))
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.count("\n") == lines, error
    assert "Traceback" not in error
    return error


# A second size of run, which also several processes train

DIGITS = ["--data", "digits", "--child_out_filters", "4", "--batch_size", "160", "--save", "tiny", "--device", "cpu"]
SEARCH = [*DIGITS, "--blocks", "[1]", "--controller_steps", "3", "--valid_steps", "2", "--derive_samples", "3"]
RETRAIN = [*DIGITS, "--blocks", "[1]", "--stem", "quarter"]
FLAGS = {"search": SEARCH, "retrain": RETRAIN}


def start(kind: str, result: Path, *more: str) -> int:
    """Run a script in this process; returns its exit status."""
    try:
        return SCRIPTS[kind].main([*FLAGS[kind], "--result", str(result), *more])
    except SystemExit as end:
        return end.code


def only_run(result: Path, kind: str) -> Path:
    """The one run folder that there must be."""
    (folder,) = (result / kind).iterdir()
    return folder


def finished(kind: str, result: Path, *more: str) -> Path:
    """Run a script to its end in this process; the one run folder under ``result``."""
    assert start(kind, result, *more) == 0
    return only_run(result, kind)


def metrics(folder: Path) -> list[dict]:
    """The epochs in metrics.jsonl, without timings."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith(("time/", "memory/"))} for line in lines]


def weights(folder: Path, name: str = "checkpoint.pt") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)["model"]


def close_weights(a: Path, b: Path, **tolerances: float) -> None:
    """Assert that the weights of two runs are nearly the same."""
    torch.testing.assert_close(weights(a), weights(b), **tolerances)


def candidates(folder: Path) -> list[tuple]:
    """Encodings and scores in genotypes.json."""
    found = json.loads((folder / "genotypes.json").read_text())["candidates"]
    return [(c["cells"], c["score"]) for c in found]


def same_run(a: Path, b: Path, kind: str) -> None:
    """Assert that two runs have the same metrics, weights and results, bit for bit."""
    assert metrics(a) == metrics(b)
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    if kind == "search":
        assert candidates(a) == candidates(b)
        controllers = [torch.load(f / "checkpoint.pt", weights_only=True)["extras"]["strategy"] for f in (a, b)]
        assert controllers[0]["baseline"] == controllers[1]["baseline"]
        for key, value in controllers[0]["controller"].items():
            assert torch.equal(value, controllers[1]["controller"][key])


def job(result: Path, kind: str, *flags: str, fault: str = "none", base: list[str] | None = None) -> list[str]:
    """What one run of a script is for one_of_many.py, which says what a ``fault`` is. ``base``: in place of FLAGS."""
    result.mkdir(parents=True, exist_ok=True)
    return [str(result), kind, fault, *(FLAGS[kind] if base is None else base), "--result", str(result), *flags]


def torchrun(*jobs: list[str]) -> subprocess.CompletedProcess:
    """Run jobs in two processes of torchrun, one after the other: starting them takes longer than a small run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    return subprocess.run(
        [*command, "--standalone", str(ROOT / "tests" / "one_of_many.py"), *_in_turn(jobs)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


def together(*jobs: list[str], processes: int = 2) -> subprocess.CompletedProcess:
    """As :func:`torchrun` in a fraction of its time, for all that does not depend on who starts processes."""
    return forked(_in_turn(jobs), processes)


def norm_by_image(x, mean, variance, weight=None, bias=None, *_others):
    """In place of torch's batch norm: what does not depend on how images are divided among processes."""
    return torch.nn.functional.group_norm(x, 1, weight, bias)


def _in_turn(jobs: Sequence[list[str]]) -> list[str]:
    return [word for job in jobs for word in ("AND", *job)][1:]


SMALL = ["--image_size", "16", "--no-tensorboard"]


def image_folder(root, swapped: bool) -> None:
    """Three classes of 8 training and 4 validation images of 24x24 pixels; ``swapped``: val/ labels move on."""
    rng = numpy.random.default_rng(0)
    for side, count in (("train", 8), ("val", 4)):
        for c in range(3):
            named = (c + 1) % 3 if swapped and side == "val" else c
            folder = root / side / f"class{named}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (24, 24, 3)) + 60 * c
                Image.fromarray(pixels.astype("uint8")).save(folder / f"{i}.png")


def result_of(folder) -> dict:
    return json.loads((folder / "result.json").read_text())


def evaluated(capsys, *words) -> dict:
    capsys.readouterr()
    assert retrainer_cifar.main(["--evaluate", *map(str, words)]) == 0
    output = capsys.readouterr().out
    return json.loads(output[output.index("{") :])


def refused(capsys, *words, lines: int = 1) -> str:
    """As :func:`refusal`, of the retrainer."""
    capsys.readouterr()
    return refusal("retrain", capsys, *map(str, words), lines=lines)


def interrupted(begin: Callable[[], int], go_on: Callable[[], int], *checks: int) -> None:
    """Run to the end with a SIGTERM before each of these looks for one, which are counted on from stop to stop."""
    before = 0
    for count in checks:
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, count - before, signal.SIGTERM)
            assert (go_on if before else begin)() == 128 + signal.SIGTERM
        before = count
    assert go_on() == 0


def stop_after(monkeypatch, checks: int, number: int) -> None:
    """Let a real signal arrive just before the ``checks``-th time that a run looks for one."""
    seen = [0]
    original = StopRequest.check

    def check(self):
        seen[0] += 1
        if seen[0] == checks:
            signal.raise_signal(number)
        original(self)

    monkeypatch.setattr(StopRequest, "check", check)
