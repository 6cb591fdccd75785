"""Searches by gradients, through the real script."""

import json
import signal

import pytest
import torch

from controller.relaxation import Relaxation
from ops.genotype import parse_genotype
from tests.harness import (
    candidates,
    finished,
    genotypes,
    job,
    metrics,
    norm_by_image,
    only_run,
    refusal,
    start,
    stop_after,
    together,
)
from tests.harness import weights as weights_of

FLAGS = "--searcher darts --space darts --layers 3 --image_size 8 --order 2 --grad_clip 5 --train_images 120".split()
FLAGS += "--batch_size 30 --valid_steps 1 --epochs 2 --no-tensorboard".split()


@pytest.fixture(autouse=True)
def without_blocks(monkeypatch):
    """The harness asks for stages, which a stack of cells has not."""
    plain = "--data digits --child_out_filters 4 --save tiny --device cpu".split()
    monkeypatch.setitem(start.__globals__["FLAGS"], "search", plain)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a run without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(start.__globals__["FLAGS"], "search", "--data digits --child_out_filters 4 --device cpu".split())
        return finished("search", tmp_path_factory.mktemp("darts"), *FLAGS)


def state(folder) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["extras"]["strategy"]


def test_the_one_candidate_is_what_the_logits_stand_for(searched):
    found = Relaxation(2, "type")
    found.load_state_dict(state(searched))
    document = genotypes(searched)
    assert [candidate["cells"] for candidate in document["candidates"]] == [found.argmax().to_lists()]
    assert parse_genotype(searched / "genotypes.json") == found.argmax()
    assert (document["searcher"], document["space"]) == ("darts", "darts")
    config = json.loads((searched / "config.json").read_text())["flags"]
    assert config["reward_fraction"] == 0.5


def test_the_logits_move_and_every_epoch_says_what_they_stand_for(searched):
    lines = metrics(searched)
    moved = torch.cat([table.flatten() for table in state(searched)["logits"]])
    assert moved.abs().max() > 1e-3, "four steps of 3e-4 each, beyond the start"
    assert lines[0]["darts/entropy"] != lines[1]["darts/entropy"]
    for line in lines:
        for kind in ("normal", "reduction"):
            assert sum(value for key, value in line.items() if key.startswith(f"darts/ops/{kind}/")) == 8
        assert "valid/loss" in line
        assert not [key for key in line if key.startswith("operations/")]


def test_a_stop_within_an_epoch_changes_nothing(searched, tmp_path, monkeypatch):
    """After the first step of an epoch the architecture's next batch is the second one."""
    whole = searched
    with monkeypatch.context() as patched:
        stop_after(patched, 1, signal.SIGTERM)
        assert start("search", tmp_path, *FLAGS) == 128 + signal.SIGTERM
    assert start("search", tmp_path, "--resume", "auto") == 0
    again = only_run(tmp_path, "search")
    assert metrics(again) == metrics(whole)
    assert candidates(again) == candidates(whole)
    own, others = weights_of(again), weights_of(whole)
    assert all(torch.equal(value, own[name]) for name, value in others.items())
    own, others = state(again), state(whole)
    assert all(map(torch.equal, own["logits"], others["logits"]))
    for left, right in zip(own["adam"]["state"].values(), others["adam"]["state"].values(), strict=True):
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_two_processes_move_the_architecture_as_one_does(tmp_path, monkeypatch):
    more = [*FLAGS, "--epochs", "1", "--cutout", "0", "--train_images", "64"]
    monkeypatch.setattr(torch.nn.functional, "batch_norm", norm_by_image)
    one = finished("search", tmp_path / "one", *more, "--batch_size", "16")
    done = together(job(tmp_path / "two", "search", *more, "--batch_size", "8", fault="norms"))
    assert done.returncode == 0, done.stderr
    two = only_run(tmp_path / "two", "search")
    moves = [a["exp_avg"] for a in state(one)["adam"]["state"].values()]  # means of the gradients
    for own, other in zip(moves, (a["exp_avg"] for a in state(two)["adam"]["state"].values()), strict=True):
        assert (own - other).norm() < 0.01 * own.norm()


def test_the_first_epochs_can_leave_the_architecture_alone(tmp_path):
    folder = finished("search", tmp_path, *FLAGS, "--warmup_epochs", "1", "--epochs", "1")
    assert not state(folder)["adam"]["state"]


def test_what_cannot_be_is_refused(capsys):
    assert "--space enas: give --space darts" in refusal("search", capsys, "--searcher", "darts", "--space", "enas")
    for name, value in {"order": "2", "arch_lr": "0.1", "arch_weight_decay": "0"}.items():
        assert f"--{name} is for --searcher darts" in refusal("search", capsys, f"--{name}", value)
    for words in ("--max_params 1e6", "--path_sampling varied", "--drop_prob 0.1"):
        assert f"{words.split()[0]}: --searcher darts" in refusal(
            "search", capsys, "--searcher", "darts", *words.split()
        )
    assert "--order" in refusal("search", capsys, "--searcher", "darts", "--order", "3")
