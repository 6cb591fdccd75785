"""Shared weights with all that helps them, through the real script."""

import pytest
import torch

from tests.harness import (
    close_weights,
    finished,
    interrupted,
    job,
    metrics,
    norm_by_image,
    only_run,
    refusal,
    same_run,
    start,
    together,
)

HELPED = (
    "--path_sampling uniform --no-bn_affine --grad_clip 5 --lr_by_step --lr_warmup_epochs 1 "
    "--train_images 160 --batch_size 40 --image_size 16 --score loss --epochs 2 --no-tensorboard"
).split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption."""
    return finished("search", tmp_path_factory.mktemp("whole"), *HELPED)


def test_stops_within_both_phases_change_nothing(whole, tmp_path):
    going_on = ["--batch_size", "40", "--resume", "auto"]
    interrupted(lambda: start("search", tmp_path, *HELPED), lambda: start("search", tmp_path, *going_on), 2, 5)
    same_run(whole, only_run(tmp_path, "search"), "search")


def test_more_epochs_are_as_if_asked_for_at_once(whole, tmp_path):
    stays = ["--lr_schedule", "cosine_restarts", "--drop_prob", "0"]  # whatever the number of epochs
    by_epoch = [*HELPED, *stays, "--epochs"]
    more = finished("search", tmp_path / "more", *by_epoch, "3")
    assert start("search", tmp_path / "less", *by_epoch, "2") == 0
    assert start("search", tmp_path / "less", "--batch_size", "40", "--resume", "auto", "--epochs", "3") == 0
    same_run(more, only_run(tmp_path / "less", "search"), "search")


def test_two_processes_train_as_one_does(whole, tmp_path, monkeypatch):
    more = [*HELPED, "--epochs", "1"]
    monkeypatch.setattr(torch.nn.functional, "batch_norm", norm_by_image)
    one = finished("search", tmp_path / "one", *more)
    done = together(job(tmp_path / "two", "search", *more, "--batch_size", "20", fault="norms"))
    assert done.returncode == 0, done.stderr
    two = only_run(tmp_path / "two", "search")
    close_weights(one, two, rtol=1e-3, atol=1e-4)
    assert metrics(one)[0]["shared/loss"] == pytest.approx(metrics(two)[0]["shared/loss"], rel=1e-4)


def test_what_cannot_be_is_refused(capsys):
    assert "more than the 1438" in refusal("search", capsys, "--data", "digits", "--train_images", "9999")
