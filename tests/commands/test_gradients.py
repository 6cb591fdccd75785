"""Searches by gradients, through the real script."""

import json
import signal

import pytest
import torch

from controller.relaxation import relax
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

TOY = "--searcher darts --train_images 120 --batch_size 30 --valid_steps 1 --epochs 2 --no-tensorboard".split()
SPACES = {  # of the harness's flags only --blocks is for our own space alone
    "darts": "--space darts --layers 3 --image_size 8 --order 2 --grad_clip 5".split(),
    "slnas": "--space slnas --blocks [1] --image_size 16".split(),
}


def flags(space: str) -> list[str]:
    return [*TOY, *SPACES[space]]


@pytest.fixture(autouse=True)
def without_blocks(monkeypatch):
    """The harness asks for stages, which a stack of cells has not."""
    plain = "--data digits --child_out_filters 4 --save tiny --device cpu".split()
    monkeypatch.setitem(start.__globals__["FLAGS"], "search", plain)


@pytest.fixture(scope="module", params=SPACES)
def searched(request, tmp_path_factory):
    """A run without interruption: its space and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(start.__globals__["FLAGS"], "search", "--data digits --child_out_filters 4 --device cpu".split())
        return request.param, finished("search", tmp_path_factory.mktemp(request.param), *flags(request.param))


def state(folder) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["extras"]["strategy"]


def test_the_one_candidate_is_what_the_logits_stand_for(searched):
    space, folder = searched
    found = relax(2, "type", space)
    found.load_state_dict(state(folder))
    document = genotypes(folder)
    assert [candidate["cells"] for candidate in document["candidates"]] == [found.argmax().to_lists()]
    assert parse_genotype(folder / "genotypes.json") == found.argmax()
    assert (document["searcher"], document["space"]) == ("darts", space)
    config = json.loads((folder / "config.json").read_text())["flags"]
    assert config["reward_fraction"] == 0.5


def test_the_logits_move_and_every_epoch_says_what_they_stand_for(searched):
    space, folder = searched
    lines, edges = metrics(folder), {"darts": 8, "slnas": 10}[space]
    moved = torch.cat([table.flatten() for table in state(folder)["logits"]])
    assert moved.abs().max() > 1e-3, "four steps of 3e-4 each, beyond the start"
    assert lines[0]["darts/entropy"] != lines[1]["darts/entropy"]
    for line in lines:
        for kind in ("normal", "reduction"):
            assert sum(value for key, value in line.items() if key.startswith(f"darts/ops/{kind}/")) == edges
        assert "valid/loss" in line
        assert not [key for key in line if key.startswith("operations/")]


def test_a_stop_within_an_epoch_changes_nothing(searched, tmp_path, monkeypatch):
    """After the first step of an epoch, the first or the second, the architecture's next batch is the second one."""
    space, whole = searched
    with monkeypatch.context() as patched:
        stop_after(patched, {"darts": 1, "slnas": 4}[space], signal.SIGTERM)
        assert start("search", tmp_path, *flags(space)) == 128 + signal.SIGTERM
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
    more = [*flags("slnas"), "--epochs", "1", "--order", "2", "--cutout", "0", "--train_images", "64"]
    monkeypatch.setattr(torch.nn.functional, "batch_norm", norm_by_image)
    one = finished("search", tmp_path / "one", *more, "--batch_size", "16")
    done = together(job(tmp_path / "two", "search", *more, "--batch_size", "8", fault="norms"))
    assert done.returncode == 0, done.stderr
    two = only_run(tmp_path / "two", "search")
    moves = [a["exp_avg"] for a in state(one)["adam"]["state"].values()]  # means of the gradients
    for own, other in zip(moves, (a["exp_avg"] for a in state(two)["adam"]["state"].values()), strict=True):
        assert (own - other).norm() < 0.01 * own.norm()


def test_the_first_epochs_can_leave_the_architecture_alone(tmp_path):
    folder = finished("search", tmp_path, *flags("slnas"), "--warmup_epochs", "1", "--epochs", "1")
    assert not state(folder)["adam"]["state"]


def test_what_cannot_be_is_refused(capsys):
    assert "--space enas" in refusal("search", capsys, "--searcher", "darts", "--space", "enas")
    for name, value in {"order": "2", "arch_lr": "0.1", "arch_weight_decay": "0"}.items():
        assert f"--{name} is for --searcher darts" in refusal("search", capsys, f"--{name}", value)
    for words in ("--max_params 1e6", "--path_sampling uniform", "--drop_prob 0.1"):
        assert f"{words.split()[0]}: --searcher darts" in refusal(
            "search", capsys, "--searcher", "darts", *words.split()
        )
    assert "--order" in refusal("search", capsys, "--searcher", "darts", "--order", "3")
