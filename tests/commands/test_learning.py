"""A search whose controller is given all that helps it, through the real script."""

import pytest
import torch

from ops.genotype import Genotype
from tests.harness import finished, genotypes, metrics, only_run, run, scalars, start

LEARNING = (
    "--operation_bound 5 --connection_bound 2.5 --controller_temperature 1 --controller_optimizer adam "
    "--controller_lr 1e-2 --controller_samples 3 --advantage normalised --entropy_in_loss 1e-3 --ppo_epochs 2 "
    "--controller_steps 6 --canonical"
).split()


def test_a_tuned_controller_leaves_uniform_draws_and_the_published_one_is_warned_of(tmp_path, capsys):
    folder = run("search", tmp_path / "tuned", *LEARNING)
    assert "still draws uniformly" not in capsys.readouterr().out
    tags, first = scalars(folder), metrics(folder)[0]
    for name in ("favoured", "kl_from_uniform"):
        assert tags[f"controller/{name}"][0][1] == pytest.approx(first[f"controller/{name}"])
        assert len(tags[f"controller/{name}"]) == 2
    assert first["controller/favoured"] > 0.28, "0.246 is uniform"
    published = run("search", tmp_path / "published", "--no-tensorboard")
    assert capsys.readouterr().out.count("still draws uniformly") == 2, "once an epoch"
    document = genotypes(published)
    assert document["canonical"] is False
    seen = metrics(published)[-1]["controller/seen"]  # before the two updates of the last epoch
    assert seen <= document["seen"] <= seen + 2


def test_canonical_candidates_are_canonical_and_counted(tmp_path):
    folder = run("search", tmp_path, "--canonical", "--no-tensorboard", "--warmup_epochs", "1", "--derive_samples", "6")
    document = genotypes(folder)
    assert document["canonical"] is True
    for candidate in document["candidates"]:
        genotype = Genotype.from_lists(candidate["cells"])
        assert genotype == genotype.canonical()
    assert document["seen"] >= metrics(folder)[-1]["controller/seen"]


def test_a_run_of_a_recipe_goes_on_with_its_parts_and_with_what_was_given_beside_them(tmp_path):
    more = ["--recipe", "tuned", "--controller_lr", "1e-2", "--controller_samples", "2", "--no-tensorboard"]
    folder = finished("search", tmp_path, *more, "--epochs", "1")
    assert start("search", tmp_path, "--resume", "auto", "--epochs", "2", "--no-tensorboard") == 0
    assert only_run(tmp_path, "search") == folder
    flags = torch.load(folder / "checkpoint.pt", weights_only=True)["flags"]
    kept = {name: flags[name] for name in ("recipe", "controller_lr", "controller_samples", "advantage", "canonical")}
    assert list(kept.values()) == ["tuned", 1e-2, 2, "normalised", True]
    assert len(metrics(folder)) == 2
