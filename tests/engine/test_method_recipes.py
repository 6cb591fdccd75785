"""Recipes of other methods: the published values, what is given wins, and that a training follows them."""

import pytest
import torch
from PIL import Image

from engine.configuration import parse_retrain, parse_search
from engine.recipes import OTHER_FLAGS, RECIPES, SEARCH_RECIPES
from models.network import Network
from models.structures import STRUCTURES
from ops.genotype import Genotype, num_cells
from ops.space import SPACES
from tests.cutouts import scenes
from tests.harness import finished, metrics, refusal

PUBLISHED_TRAININGS = {
    "darts": {
        **{"epochs": 600, "batch_size": 96, "lr_schedule": "cosine", "child_lr_max": 0.025, "child_lr_min": 0},
        **{"momentum": 0.9, "nesterov": False, "weight_decay": 3e-4, "decay_norms": True, "grad_clip": 5},
        **{"drop_prob": 0.2, "drop_path_until": 1, "drop_path_by_layer": False, "drop_path_by_step": False},
        **{"aux_weight": 0.4, "label_smoothing": 0, "dropout": 0, "cutout": None},
    },
    "enas": {
        **{"epochs": 630, "batch_size": 144, "lr_schedule": "cosine_restarts", "child_lr_T_0": 10, "child_lr_T_mul": 2},
        **{"child_lr_max": 0.05, "child_lr_min": 1e-4},
        **{"momentum": 0.9, "nesterov": True, "weight_decay": 4e-4, "decay_norms": True, "grad_clip": 5},
        **{"drop_prob": 0.4, "drop_path_until": 1, "drop_path_by_layer": True, "drop_path_by_step": True},
        **{"aux_weight": 0.4, "label_smoothing": 0, "dropout": 0.2, "cutout": None},
    },
    "nao": {
        **{"epochs": 600, "batch_size": 128, "lr_schedule": "cosine", "child_lr_max": 0.025, "child_lr_min": 0},
        **{"momentum": 0.9, "nesterov": False, "weight_decay": 3e-4, "decay_norms": True, "grad_clip": 5},
        **{"drop_prob": 0.2, "drop_path_until": 1, "drop_path_by_layer": True, "drop_path_by_step": True},
        **{"aux_weight": 0.4, "label_smoothing": 0, "dropout": 0.4, "cutout": None},
    },
}
PUBLISHED_SEARCHES = {
    "enas": {
        **{"epochs": 150, "batch_size": 160, "child_out_filters": 20, "reward_fraction": 0.1},
        **{"lr_schedule": "cosine_restarts", "child_lr_T_0": 10, "child_lr_T_mul": 2},
        **{"child_lr_max": 0.05, "child_lr_min": 5e-4, "nesterov": True, "weight_decay": 2e-4, "grad_clip": 5},
        **{"dropout": 0.1, "drop_prob": 0, "controller_steps": 30, "controller_samples": 10},
        **{"controller_lr": 3.5e-3, "bl_dec": 0.99, "entropy_weight": 1e-2},
        **{"controller": "enas", "controller_optimizer": "enas_adam", "controller_temperature": 1},
        **{"connection_bound": 1.1, "operation_bound": 1.1 / 2.5},
    },
    "nao": {
        **{"epochs": 150, "batch_size": 128, "child_out_filters": 20, "reward_fraction": 0.1},
        **{"lr_schedule": "cosine", "child_lr_max": 0.025, "child_lr_min": 1e-3, "nesterov": False},
        **{"weight_decay": 3e-4, "grad_clip": 5, "dropout": 0, "drop_prob": 0.1},
        **{"controller_steps": 1, "controller_samples": 20},
    },
}


@pytest.mark.parametrize("name", PUBLISHED_TRAININGS)
def test_a_training_under_the_recipe_of_another_method_is_one_flag(name):
    config = parse_retrain(["--recipe", name])
    found = {**vars(config), **vars(RECIPES[name])}
    assert {key: found[key] for key in PUBLISHED_TRAININGS[name]} == PUBLISHED_TRAININGS[name]
    assert config.given == {"recipe"}


@pytest.mark.parametrize("name", PUBLISHED_SEARCHES)
def test_a_search_under_the_recipe_of_another_method_is_one_flag(name):
    config = parse_search(["--recipe", name])
    assert {key: getattr(config, key) for key in PUBLISHED_SEARCHES[name]} == PUBLISHED_SEARCHES[name]


@pytest.mark.parametrize("name", OTHER_FLAGS)
def test_a_given_flag_wins_over_the_schedule_of_a_recipe_even_with_its_usual_value(name):
    usual = parse_retrain([]).defaults()
    for flag, value in OTHER_FLAGS[name].items():
        default = 0.35 if flag == "drop_prob" else usual[flag]
        config = parse_retrain(["--recipe", name, f"--{flag}", str(default)])
        assert getattr(config, flag) == default
        others = {key: getattr(config, key) for key in OTHER_FLAGS[name] if key != flag}
        assert others == {key: other for key, other in OTHER_FLAGS[name].items() if key != flag}, (flag, value)


def test_the_restarts_of_enas_end_with_its_last_epoch():
    for schedule in (OTHER_FLAGS["enas"], vars(parse_search(["--recipe", "enas"]))):
        end, period = 0, schedule["child_lr_T_0"]
        while end < schedule["epochs"]:
            end, period = end + period, period * schedule["child_lr_T_mul"]
        assert end == schedule["epochs"]


def network(space: str = "slnas") -> Network:
    torch.manual_seed(0)
    blocks, stem = ((1, 1), "quarter") if space == "slnas" else ((3,), STRUCTURES[space].stem(False, in_search=False))
    sharing = SPACES[space].sharing or "type"
    return Network(Genotype.widest(num_cells(sharing, blocks), sharing, space), blocks, 4, 3, stem)


def test_drop_path_can_have_a_probability_for_every_cell():
    drawn, images = network(), torch.zeros(64, 3, 32, 32)
    masks = {}
    for name, drop_path in (("one", 0.5), ("each", torch.tensor([0.0, 0.0, 0.5, 0.9]))):
        torch.manual_seed(1)
        masks[name] = drawn._keep_masks(images, drawn.genotype, drop_path)
        assert masks[name].shape == (4, 10, 64, 1, 1, 1)
    assert (masks["each"][:2] == 1).all()
    assert torch.equal(masks["each"][2], masks["one"][2])
    assert 0.05 < (masks["each"][3] > 0).float().mean() < 0.15
    assert masks["each"][3].max() == pytest.approx(10)


@pytest.mark.parametrize("space", SPACES)
def test_dropout_drops_in_training_only_and_keeps_the_mean(space):
    plain, dropping, images = network(space), network(space), torch.randn(8, 3, 16, 16)
    dropping.drop_before_head(0.5)
    assert torch.equal(plain.eval()(images)[0], dropping.eval()(images)[0])
    plain.train()
    dropping.train()
    features = plain.features(images, plain.genotype)
    expected = plain.head(features)
    torch.manual_seed(0)
    drawn = torch.stack([dropping.head(features) for _ in range(200)])
    assert not torch.equal(drawn[0], drawn[1])
    error = drawn.std(0) / 200**0.5
    assert ((drawn.mean(0) - expected).abs() < 5 * error).all()


def test_a_training_follows_the_recipe_of_enas(tmp_path):
    small = "--image_size 16 --train_images 480 --batch_size 240 --no-tensorboard --recipe enas".split()
    folder = finished("retrain", tmp_path, *small, "--epochs", "2", "--child_lr_T_0", "1")
    lines = metrics(folder)
    assert [line["train/lr"] for line in lines] == pytest.approx([0.05, 0.05])
    assert [line["train/drop_path"] for line in lines] == pytest.approx([0.2, 0.4])
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["optimizer"]["param_groups"][0]["nesterov"]
    assert [group["weight_decay"] for group in state["optimizer"]["param_groups"]] == [4e-4]


def test_a_head_without_dropout_refuses_it(capsys, monkeypatch):
    monkeypatch.delattr("models.heads.PooledLinear.dropout")
    small = ["--data", "digits", "--blocks", "[1]", "--child_out_filters", "4", "--dropout", "0.3"]
    assert "--dropout 0.3" in refusal("retrain", capsys, *small)


OFF = {
    "search": {"cutout": 0, "dropout": 0, "drop_prob": 0, "weight_decay": 0, "momentum": 0, "lr_warmup_epochs": 0},
    "retrain": {"mixup": 0, "cutmix": 0, "random_erasing": 0, "augment": "none", "ema": 0, "label_smoothing": 0},
}
OFF["retrain"] |= OFF["search"]
OFF["search"] |= {"warmup_epochs": 0, "entropy_weight": 0, "entropy_in_loss": 0}


@pytest.mark.parametrize("task", ["classify", "segment", "detect"])
@pytest.mark.parametrize(
    ("kind", "recipe"), [*(("search", name) for name in SEARCH_RECIPES), *(("retrain", name) for name in RECIPES)]
)
def test_a_recipe_gives_way_to_the_data_and_turning_off_is_always_allowed(kind, recipe, task, large, capsys):
    """Refused is no more than the folder of runs, which is the last thing that can be."""
    data = ["--data", str(large[task]), "--task", task, "--image_size", "32", "--batch_size", "4", "--device", "cpu"]
    size = ["--blocks", "[0]", "--child_out_filters", "4", "--train_images", "24", "--result", "/dev/null"]
    assert "the run folder cannot be made" in refusal(kind, capsys, *data, *size, "--recipe", recipe)
    off = [word for name, value in OFF[kind].items() for word in (f"--{name}", str(value))]
    assert "the run folder cannot be made" in refusal(kind, capsys, *data, *size, *off, "--recipe", recipe)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Large images, by what a task reads of them."""
    root = tmp_path_factory.mktemp("large")
    for path in (root / side / name / f"{i}.png" for side in ("train", "val") for name in "ab" for i in range(12)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70, 60), (10 * ord(path.stem[0]), 0, 0)).save(path)
    dense = scenes(root / "dense", number=30)
    return {"classify": root, "segment": dense, "detect": dense}
