"""Real processes, connected by gloo: against one, and how they stop, fail and go on together."""

import json
import math
import os
import shutil

import pytest
import torch
from PIL import Image

from tests.harness import (
    candidates,
    job,
    metrics,
    norm_by_image,
    only_run,
    same_run,
    start,
    together,
    torchrun,
    weights,
)
from utils.system.lock import FolderLock

KINDS = ("search", "retrain")
SMALL = ["--epochs", "1", "--image_size", "16", "--train_images", "480"]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Where both scripts ran in two processes with half the batch, each image normalised by itself, and what they said.

    The only processes that torchrun starts: those of another run follow, one of which fails.
    """
    folder = tmp_path_factory.mktemp("two")
    runs = [job(folder / kind, kind, *SMALL, "--batch_size", "80", fault="norms") for kind in KINDS]
    return folder, torchrun(*runs, job(folder / "failing", "retrain", "--epochs", "2", fault="crash"))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_half_the_batch_equal_one(kind, halves, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "batch_norm", norm_by_image)
    assert start(kind, tmp_path, *SMALL, "--batch_size", "160") == 0
    halves, done = halves
    assert (halves / kind / kind).is_dir(), done.stderr
    one, two = only_run(tmp_path, kind), only_run(halves / kind, kind)
    assert len(list(two.glob("events.out.tfevents.*"))) == 1
    ranks = [torch.load(halves / kind / f"epoch1-rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    alone = weights(one)
    for key, value in weights(two).items():
        assert torch.equal(ranks[0][key], ranks[1][key]), key
        assert torch.equal(ranks[0][key], value), key
        torch.testing.assert_close(value, alone[key], rtol=1e-4, atol=1e-5)
    for a, b in zip(metrics(one), metrics(two), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    if kind == "search":
        ranked = [json.loads((folder / "genotypes.json").read_text())["candidates"] for folder in (one, two)]
        assert [c["cells"] for c in ranked[0]] == [c["cells"] for c in ranked[1]]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Two classes; 13 images to train on, two to validate."""
    root = tmp_path_factory.mktemp("few")
    for side, counts in (("train", (7, 6)), ("val", (1, 1))):
        for label, count in zip("ab", counts, strict=True):
            (root / side / label).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (200 * (label == "a"), 15 * i, 90)).save(root / side / label / f"{i}.png")
    return root


def test_images_count_and_not_processes_where_some_have_none(few, tmp_path):
    """Two validation images on three processes, and a last batch that would be one of a single training image."""
    flags = ["--data", str(few), "--epochs", "1", "--batch_size", "1", "--no-tensorboard"]
    once = ["--controller_steps", "1", "--valid_steps", "1", "--derive_samples", "2"]
    done = together(job(tmp_path, "search", *flags, *once), job(tmp_path, "retrain", *flags), processes=3)
    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        [record] = metrics(only_run(tmp_path, kind))
        assert all(math.isfinite(value) for value in record.values()), record
    result = json.loads((only_run(tmp_path, "retrain") / "result.json").read_text())
    assert record["valid/loss"] == pytest.approx(result["val_loss"], rel=1e-4), "measured by the first alone"


def test_several_seeds_train_in_several_processes_one_after_the_other_and_go_on(tmp_path):
    flags = "--epochs 1 --seeds 0,1 --train_images 240 --batch_size 60 --image_size 16 --no-tensorboard".split()
    flags += ["--resume", "auto"]
    done = together(job(tmp_path, "retrain", *flags))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("val accuracy over 2 seeds") == 1
    summary = json.loads((tmp_path / "retrain" / "tiny-seeds.json").read_text())
    assert list(summary["val_top1"]) == ["0", "1"]
    again = together(job(tmp_path, "retrain", *flags))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("complete: nothing to do") == 2


RANKING = ["--epochs", "1", "--controller_steps", "0", "--valid_steps", "0", "--no-tensorboard"]
RANKING += ["--train_images", "240", "--image_size", "16", "--batch_size", "40"]


def test_two_processes_rank_without_training_as_one_does(tmp_path):
    """parameters are counted without images: equal scores. nwot reads those of the first process: none of it hangs."""
    by = {ranker: [*RANKING, "--rank_by", ranker] for ranker in ("parameters", "nwot")}
    done = together(*(job(tmp_path / f"two {r}", "search", *flags, fault="rank-1-1") for r, flags in by.items()))
    assert done.returncode == 0, done.stderr
    for ranker, flags in by.items():
        assert start("search", tmp_path / f"one {ranker}", *flags) == 0
        one, two = (candidates(only_run(tmp_path / f"{number} {ranker}", "search")) for number in ("one", "two"))
        assert len(one) == 3
        assert sorted(cells for cells, _ in one) == sorted(cells for cells, _ in two)
        assert all(math.isfinite(score) for _, score in two)
        if ranker == "parameters":
            assert one == two


def test_a_ranker_that_fails_in_the_first_process_ends_all_before_the_first_epoch(tmp_path):
    done = together(job(tmp_path, "search", *RANKING, "--rank_by", "nwot", fault="rank-0-1"))
    assert done.returncode != 0
    assert "process 0 has no score" in done.stderr
    assert "Connection closed" not in done.stderr, "all of them heard of it"
    assert not (tmp_path / "search").exists()


def test_a_genotype_without_a_score_in_the_first_process_is_the_last_in_all(tmp_path):
    done = together(job(tmp_path, "search", *RANKING, "--rank_by", "nwot", fault="rank-0-3"))
    assert done.returncode == 0, done.stderr
    scores = [score for _, score in candidates(only_run(tmp_path, "search"))]
    assert [score is None for score in scores] == [False, False, True]


SHORT = [*SMALL, "--batch_size", "60", "--no-tensorboard"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An epoch of each script in two processes, without a stop: the folders that hold them."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    done = together(*(job(folder, kind, *SHORT) for kind, folder in folders.items()))
    assert done.returncode == 0, done.stderr
    return folders


def test_two_processes_stop_together_and_go_on_bit_for_bit(straight, tmp_path):
    """The signal reaches one of them only. Every process has its own batch statistics."""
    stopped = together(*(job(tmp_path, kind, *SHORT, fault="stop") for kind in KINDS))
    assert stopped.returncode != 0
    for script in ("train_search_cifar.py", "retrainer_cifar.py"):
        assert stopped.stderr.count(f"{script}: stopped by SIGTERM") == 1
    for kind in KINDS:
        assert not (only_run(tmp_path, kind) / "result.json").exists()
    again = together(*(job(tmp_path, kind, *SHORT, "--resume", "auto") for kind in KINDS))
    assert again.returncode == 0, again.stderr
    for kind, folder in straight.items():
        same_run(only_run(tmp_path, kind), only_run(folder, kind), kind)


def test_an_error_in_one_process_ends_all(halves):
    _, done = halves
    assert done.returncode != 0
    assert "retrainer_cifar.py (process 1): the disk of process 1 broke" in done.stderr
    assert "File " not in done.stderr.split("the disk of process 1 broke")[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a second process that holds a lock")
def test_all_processes_end_when_the_first_may_not_write(straight, tmp_path):
    shutil.copytree(straight["retrain"], tmp_path, dirs_exist_ok=True)
    with FolderLock(only_run(tmp_path, "retrain")):
        done = together(job(tmp_path, "retrain", *SHORT, "--epochs", "2", "--resume", "auto"))
    assert done.returncode != 0
    assert done.stderr.count("another process is writing") == 1
    assert [row["epoch"] for row in metrics(only_run(tmp_path, "retrain"))] == [0]
    alone = start("retrain", tmp_path, *SHORT, "--epochs", "2", "--resume", "auto")
    assert alone == 2, "another number of processes"
