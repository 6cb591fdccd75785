"""Small real runs for tests, and reading what they left."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import retrainer_cifar
import train_search_cifar

TINY = ["--data", "digits", "--child_out_filters", "4", "--batch_size", "160", "--save", "tiny", "--device", "cpu"]
SEARCH = [*TINY, "--blocks", "[1]", "--controller_steps", "3", "--valid_steps", "2", "--derive_samples", "3"]
RETRAIN = [*TINY, "--blocks", "[1]", "--stem", "quarter"]
MAINS = {"search": train_search_cifar.main, "retrain": retrainer_cifar.main}
FLAGS = {"search": SEARCH, "retrain": RETRAIN}


def start(kind: str, result: Path, *more: str) -> int:
    """Run a script in this process; returns its exit status."""
    try:
        return MAINS[kind]([*FLAGS[kind], "--result", str(result), *more])
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
