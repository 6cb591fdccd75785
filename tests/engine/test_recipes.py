"""Recipes: what they stand for, and that all of their parts work together, stop and go on."""

import json
import signal
from dataclasses import asdict, fields

import pytest
import torch

from engine.configuration import parse_retrain
from engine.recipes import RECIPES, Recipe, choose_recipe
from tests.harness import finished, metrics, only_run, start, stop_after

FLAGS = {
    "augment": ("randaugment", "none"),
    "mixup": (0.4, 0.0),
    "cutmix": (0.5, 0.0),
    "random_erasing": (0.3, 0.0),
    "ema": (0.9, 0.0),
    "lr_warmup_epochs": (2, 0),
    "nesterov": (True, False),
    "label_smoothing": (0.2, 0.0),
    "drop_path_until": (0.5, 0.25),
    "drop_path_by_layer": (True, False),
    "drop_path_by_step": (True, False),
    "dropout": (0.3, 0.0),
    "decay_norms": (True, False),
}
METHODS_ONLY = ("drop_path_by_layer", "drop_path_by_step", "dropout", "decay_norms")
SMALL = "--image_size 16 --blocks [1,1] --train_images 240 --batch_size 80 --no-tensorboard".split()
STRONG = [*SMALL, "--recipe", "strong", "--epochs", "2", "--precision", "bf16", "--lr_warmup_epochs", "1"]


def chosen(*words: str) -> Recipe:
    config = parse_retrain(list(words))
    return choose_recipe(config.recipe, vars(config))


def words(name: str, value) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]


def test_a_recipe_without_further_flags_is_as_the_table_says():
    assert chosen() == RECIPES["published"] == Recipe()
    assert chosen("--recipe", "strong") == RECIPES["strong"]
    off = {"mixup": 0, "cutmix": 0, "random_erasing": 0, "ema": 0, "lr_warmup_epochs": 0, "nesterov": False}
    off |= dict.fromkeys(METHODS_ONLY, 0)
    published = asdict(RECIPES["published"])
    assert {**published, **off, "augment": "none", "label_smoothing": 0.1, "drop_path_until": 0.7} == published
    strong = asdict(RECIPES["strong"])
    assert all(bool(strong[name]) != (name in METHODS_ONLY) for name in strong)
    assert strong["drop_path_until"] > published["drop_path_until"]


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("name", [f.name for f in fields(Recipe)])
def test_each_flag_overrides_its_part_and_no_other(recipe, name):
    for value in FLAGS[name]:
        found = asdict(chosen("--recipe", recipe, *words(name, value)))
        assert found == {**asdict(RECIPES[recipe]), name: value}


@pytest.fixture(scope="module")
def strong(tmp_path_factory):
    """The strong recipe with auxiliary heads and mixed precision, uninterrupted."""
    result = tmp_path_factory.mktemp("strong")
    return finished("retrain", result, *STRONG)


def state_of(folder, name: str = "checkpoint.pt") -> dict:
    return torch.load(folder / name, weights_only=True)


def test_a_strong_run_states_its_recipe_and_follows_it(strong):
    result = json.loads((strong / "result.json").read_text())
    assert result["recipe"] == {**asdict(RECIPES["strong"]), "lr_warmup_epochs": 1}
    assert result["aux_parameters"] > 0
    lines = metrics(strong)
    assert [line["train/lr"] for line in lines] == pytest.approx([0.5 * 0.025, 0.5 * 0.025])
    assert [line["train/drop_path"] for line in lines] == pytest.approx([0, 0.175])
    assert all(group["nesterov"] for group in state_of(strong)["optimizer"]["param_groups"])
    assert json.loads((strong / "config.json").read_text())["precision"] == "bf16"


def test_checkpoints_hold_both_networks_without_prefixes(strong):
    for name in ("checkpoint.pt", "best.pt"):
        state = state_of(strong, name)
        average = state["extras"]["average"]
        assert average["weights"].keys() == state["model"].keys()
        assert not [key for key in state["model"] if "module" in key or "_orig_mod" in key]
        parameters = [key for key in state["model"] if "running" not in key and "num_batches" not in key]
        assert any(not torch.equal(average["weights"][key], state["model"][key]) for key in parameters)
        assert average["updates"] == 3 * state["position"]["epoch"]
    assert all(value.dtype in (torch.float32, torch.int64) for value in state["model"].values())


@pytest.mark.parametrize("checks", [2, 3])  # within the first epoch, after its last step
def test_a_stopped_strong_run_goes_on_bit_for_bit(checks, strong, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, checks, signal.SIGTERM)
        assert start("retrain", tmp_path, *STRONG) == 128 + signal.SIGTERM
    folder = finished("retrain", tmp_path, *STRONG, "--resume", "auto")
    assert metrics(folder) == metrics(strong)
    mine, theirs = state_of(folder), state_of(strong)
    averages = [state["extras"]["average"]["weights"] for state in (mine, theirs)]
    for left, right in ((mine["model"], theirs["model"]), averages):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert mine["extras"]["average"]["updates"] == theirs["extras"]["average"]["updates"]
    results = [json.loads((f / "result.json").read_text()) for f in (folder, strong)]
    assert results[0] == results[1]


def test_another_recipe_cannot_go_on_with_a_run(strong, tmp_path, capsys):
    assert start("retrain", tmp_path, *STRONG, "--resume", str(strong), "--mixup", "0.7") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--mixup" in error


def test_single_parts_change_the_run_that_they_belong_to(tmp_path):
    losses, quick = {}, [*SMALL, "--blocks", "[0]", "--epochs", "1"]
    for name in ("published", "augment", "mixup", "random_erasing", "label_smoothing"):
        more = [] if name == "published" else words(name, FLAGS[name][0])
        assert start("retrain", tmp_path / name, *quick, *more) == 0
        losses[name] = metrics(only_run(tmp_path / name, "retrain"))[0]["train/loss"]
    assert len(set(losses.values())) == len(losses)
