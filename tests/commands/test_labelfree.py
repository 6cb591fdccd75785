"""Searches that read no label, through the real script."""

import json

import numpy as np
import pytest
import torch

from data.torchvision_sets import IDX_FILES
from engine.tasks.pretext import VIEWS
from tests.harness import (
    close_weights,
    finished,
    genotypes,
    interrupted,
    job,
    metrics,
    norm_by_image,
    only_run,
    printed_command,
    refusal,
    same_run,
    start,
    together,
)
from tests.idx import idx, idx_files

QUICK = (
    "--task rotation --train_images 80 --batch_size 20 --epochs 2 --controller_steps 2 --valid_steps 1 --no-tensorboard"
).split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where a search ran without interruption."""
    return finished("search", tmp_path_factory.mktemp("rotation"), *QUICK)


def test_stops_within_both_phases_change_nothing(whole, tmp_path):
    going_on = [*QUICK, "--resume", "auto", "--num_class", "10"]  # of the data; the answers are 4
    interrupted(lambda: start("search", tmp_path, *QUICK), lambda: start("search", tmp_path, *going_on), 2, 5)
    same_run(whole, only_run(tmp_path, "search"), "search")


def test_every_view_that_the_shared_weights_see_is_on_record(whole):
    rewards = genotypes(whole)["reward_images"]
    for record in metrics(whole):
        assert record["images/trained"] == VIEWS * (80 - rewards)
        assert record["images/scored"] % VIEWS == 0


def test_two_processes_train_as_one_does(tmp_path, monkeypatch):
    flags = [*QUICK, "--epochs", "1"]
    done = together(job(tmp_path / "two", "search", *flags, "--batch_size", "10", fault="norms"))
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(torch.nn.functional, "batch_norm", norm_by_image)
    one = finished("search", tmp_path / "one", *flags)
    two = only_run(tmp_path / "two", "search")
    close_weights(one, two, rtol=1e-3, atol=1e-4)
    assert metrics(one)[0]["shared/loss"] == pytest.approx(metrics(two)[0]["shared/loss"], rel=1e-4)


def test_what_is_retrained_is_a_network_of_the_classes_of_the_data(whole, tmp_path):
    document = genotypes(whole)
    assert document["task"] == "rotation"
    assert (document["num_classes"], document["head"]) == (10, "classify")
    stored = json.loads((whole / "genotypes.json").read_text())["candidates"][0]
    command = printed_command(f"retrain it with: {stored['retrain']}")
    assert "--task" not in command
    more = ["--stem", document["stem"], "--epochs", "1", "--batch_size", "60", "--no-tensorboard"]
    assert start("retrain", tmp_path, *command[2:], *more) == 0
    result = json.loads((only_run(tmp_path, "retrain") / "result.json").read_text())
    assert result["parameters"] == stored["parameters"] + stored["aux_parameters"]


def test_permuting_the_labels_changes_no_byte(tmp_path, monkeypatch):
    """Of train/ and of val/; how both are divided, what is kept of train/, and all draws stay the same."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    content, found = idx_files(raw, (150, 40)), []
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        flags = [*QUICK, "--data", "data", "--train_images", "120", "--epochs", "1"]
        folder = finished("search", tmp_path / name, *flags)
        text = (folder / "genotypes.json").read_text().replace(str(folder), "")
        found.append((text, metrics(folder)))
        for number, file in enumerate(IDX_FILES[1::2]):
            permuted = np.random.default_rng(number).permutation(content[file])
            assert (permuted != content[file]).any()
            (raw / file).write_bytes(idx(permuted))
    assert found[0] == found[1]


def test_what_cannot_be_is_refused(capsys, tmp_path):
    flags = ["--data", "digits", "--result", str(tmp_path)]
    assert "without it" in refusal("retrain", capsys, *flags, "--task", "rotation")
    assert not list(tmp_path.iterdir())


def test_networks_that_are_not_trained_are_ranked_by_their_answers_to_rotations(tmp_path):
    flags = [*QUICK, "--rank_by", "nwot", "--epochs", "1", "--controller_steps", "0"]
    document = genotypes(finished("search", tmp_path, *flags))
    assert all(candidate["score"] > 0 for candidate in document["candidates"])


def test_the_warning_is_one_line_in_the_log(whole):
    lines = [line for line in (whole / "log.txt").read_text().splitlines() if "--task rotation asks" in line]
    assert len(lines) == 1
