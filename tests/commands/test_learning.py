"""A search whose controller is given all that helps it, through the real script."""

import signal

import pytest
import torch

from ops.genotype import Genotype
from tests.harness import finished, genotypes, metrics, only_run, result_of, run, same_run, scalars, start, stop_after

LEARNING = (
    "--operation_bound 5 --connection_bound 2.5 --controller_temperature 1 --controller_optimizer adam "
    "--controller_lr 1e-2 --controller_samples 3 --advantage normalised --entropy_in_loss 1e-3 "
    "--controller_steps 6 --canonical"
).split()


def test_a_tuned_controller_leaves_uniform_draws_and_the_published_one_is_warned_of(tmp_path, capsys):
    folder = run("search", tmp_path / "tuned", *LEARNING, "--image_size", "16")
    assert "still draws uniformly" not in capsys.readouterr().out
    tags, first = scalars(folder), metrics(folder)[0]
    for name in ("favoured", "kl_from_uniform"):
        assert tags[f"controller/{name}"][0][1] == pytest.approx(first[f"controller/{name}"])
        assert len(tags[f"controller/{name}"]) == 2
    assert first["controller/favoured"] > 0.28, "0.246 is uniform"
    published = run("search", tmp_path / "published", "--no-tensorboard", "--image_size", "16", "--train_images", "320")
    assert capsys.readouterr().out.count("still draws uniformly") == 2, "once an epoch"
    document = genotypes(published)
    assert document["canonical"] is False
    seen = metrics(published)[-1]["controller/seen"]  # before the two updates of the last epoch
    assert seen <= document["seen"] <= seen + 2


def test_canonical_candidates_are_canonical_and_counted(tmp_path):
    small = ["--image_size", "16", "--no-tensorboard"]
    folder = run("search", tmp_path, "--canonical", *small, "--warmup_epochs", "1", "--derive_samples", "6")
    document = genotypes(folder)
    assert document["canonical"] is True
    for candidate in document["candidates"]:
        genotype = Genotype.from_lists(candidate["cells"])
        assert genotype == genotype.canonical()
    assert document["seen"] >= metrics(folder)[-1]["controller/seen"]


def test_a_run_of_a_recipe_goes_on_with_its_parts_and_with_what_was_given_beside_them(tmp_path):
    more = ["--recipe", "tuned", "--controller_lr", "1e-2", "--controller_samples", "2", "--no-tensorboard"]
    more += ["--train_images", "320", "--image_size", "16", "--finals", "0"]
    folder = finished("search", tmp_path, *more, "--epochs", "1")
    assert start("search", tmp_path, "--resume", "auto", "--epochs", "2", "--no-tensorboard") == 0
    assert only_run(tmp_path, "search") == folder
    flags = torch.load(folder / "checkpoint.pt", weights_only=True)["flags"]
    kept = {name: flags[name] for name in ("recipe", "controller_lr", "controller_samples", "advantage", "canonical")}
    assert list(kept.values()) == ["tuned", 1e-2, 2, "normalised", True]
    assert len(metrics(folder)) == 2


TUNED = "--recipe tuned --entropy_in_loss 1e-3 --warmup_epochs 0 --finals 0".split()
ENAS = "--controller enas --controller_optimizer enas_adam --entropy_weight 1e-2 --bl_dec 0.904".split()


@pytest.mark.parametrize("learning", [TUNED, ENAS], ids=["tuned", "enas"])
def test_a_stop_between_two_updates_goes_on_bit_for_bit(learning, tmp_path, monkeypatch):
    """In the second epoch, so that the optimizer has its averages and the weight of the entropy has begun to fall."""
    flags = [*learning, *"--controller_samples 3 --controller_lr 1e-2 --epochs 2 --no-tensorboard".split()]
    flags += ["--train_images", "300", "--batch_size", "85", "--image_size", "16"]
    straight = finished("search", tmp_path / "straight", *flags)
    with monkeypatch.context() as patch:  # an epoch: 3 steps on the weights, 3 updates, 2 reports
        stop_after(patch, 8 + 3 + 2, signal.SIGTERM)
        assert start("search", tmp_path / "stopped", *flags) == 128 + signal.SIGTERM
    folder = only_run(tmp_path / "stopped", "search")
    position = torch.load(folder / "checkpoint.pt", weights_only=True)["position"]
    assert (position["epoch"], position["phase"], position["step"]) == (1, "strategy", 2)
    assert start("search", tmp_path / "stopped", *flags, "--resume", "auto") == 0
    same_run(folder, straight, "search")
    states = [torch.load(f / "checkpoint.pt", weights_only=True)["extras"]["strategy"] for f in (folder, straight)]
    assert states[0]["told"] == states[1]["told"] == 6
    assert ("lstm.weight" in states[0]["controller"]) == (learning is ENAS)
    moments = [state["optimizer"]["state"].values() for state in states]
    for one, other in zip(*moments, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("step", "exp_avg", "exp_avg_sq"))


IDLE = "--image_size 16 --train_images 120 --batch_size 60 --valid_steps 0 --controller_steps 1".split()
DARTS = "--searcher darts --valid_steps 1".split()
START = "what it ends with is no more than its start"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--warmup_epochs", "1"], [f"leaves none of 1 epochs to --searcher rl: {START}"]),
        (["--controller_steps", "0"], [f"--controller_steps 0 leaves none of 1 epochs to --searcher rl: {START}"]),
        (["--searcher", "evolution", "--warmup_epochs", "2"], [f"--searcher evolution: {START}"]),
        (["--searcher", "random", "--warmup_epochs", "1"], []),
        ([*DARTS, "--warmup_epochs", "1"], [f"--searcher darts: {START}", "still mixes uniformly"]),
        ([*DARTS, "--arch_lr", "1e-12"], ["the genotype that it stands for is hardly more than a random one"]),
        ([], ["the controller has not moved: its first update only sets the baseline"]),
        (["--controller_steps", "2"], ["has not moved since its start: it learns nothing"]),
    ],
    ids=lambda value: " ".join(value) if not value or value[0].startswith("--") else "",
)
def test_a_search_that_does_not_search_says_so_and_claims_no_more_than_it_measured(flags, said, tmp_path, capsys):
    folder = finished("search", tmp_path, *IDLE, "--no-tensorboard", *flags, "--epochs", "1")
    output = capsys.readouterr().out
    assert [line.partition(":")[0] for line in output.splitlines() if "warning" in line] == ["warning"] * len(said)
    assert all(text in output for text in said)
    assert "chance" not in output
    spread = result_of(folder)["spread"]
    if spread["noise_share"] is None:
        assert "whether candidates differ by more than noise is open" in output
    else:
        noise = f"the noise of 20 reward images explains {spread['noise_share']:.0f} % of their variance"
        assert noise in output
