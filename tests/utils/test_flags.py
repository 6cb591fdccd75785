import argparse
import ast
import math
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.configuration import parse_retrain, parse_search
from engine.recipes import SEARCH_RECIPES, Recipe
from ops.genotype import parse_genotype
from utils.config import BLOCKS, DEFAULT_ARCH, RetrainConfig, SearchConfig
from utils.system import numbers as flags

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED_SEARCH = (
    "--save cifa10_searcher --seed 0 --batch_size 96 --child_out_filters 16 --data ../data/cifar10 --num_class 30 "
    '--epochs 150 --blocks "[2,2]" --weight_decay 3e-4'
)
PUBLISHED_RETRAIN = (
    "--save cifar10_retrain --seed 2 --batch_size 32 --child_out_filters 40 --data ../data/exp_data/AID_50 "
    '--num_class 30 --epochs 600 --blocks "[2,2]" '
    '--arch "[[0, 1, 0, 4, 1, 3, 0, 3, 0, 3, 0, 0, 1, 1, 0, 3, 0, 3, 1, 0], '
    '[0, 3, 1, 0, 0, 4, 1, 1, 1, 1, 0, 3, 0, 2, 1, 2, 1, 1, 0, 3]]"'
)
COMMON = {
    "data": "../data/cifar10",
    "num_class": None,
    "save": "EXP",
    "seed": 2,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "report_freq": 50,
    "gpu": None,
    "child_lr_max": 0.025,
    "child_lr_min": 0,
    "child_lr_T_0": 10,
    "child_lr_T_mul": 2,
    "child_use_aux_heads": True,
    "device": "auto",
    "antialias": "conv",
    "lr_schedule": "cosine",
    "tensorboard": True,
}
SEARCH = {
    "batch_size": 96,
    "epochs": 150,
    "child_out_filters": 48,
    "blocks": (4, 4),
    "controller_lr": 3.5e-5,
    "entropy_weight": 1e-4,
    "bl_dec": 0.95,
    "sharing": "type",
    "bn_stats": "batch",
    "controller_steps": 150,
    "controller_samples": 1,
    "valid_steps": 20,
    "reward_fraction": 0.2,
    "derive_samples": 100,
    "rank_by": "shared",
    "top_k": 10,
    "canonical": False,
    "score": None,
    "reward_batches": 1,
    "operation_bound": 1.1 / 2.5,
    "connection_bound": 1.1,
    "controller_temperature": 5,
    "controller": "slnas",
    "controller_optimizer": "ranger",
    "advantage": "baseline",
    "entropy_in_loss": 0,
    "order": 1,
    "arch_lr": 3e-4,
    "arch_weight_decay": 1e-3,
    "nao_pool": 600,
    "nao_replace": 300,
    "nao_best": 100,
    "nao_epochs": 1000,
}
RETRAIN = {"batch_size": 32, "epochs": 600, "child_out_filters": 32, "grad_clip": 5}
PARSERS = (parse_search, parse_retrain)


def test_published_defaults():
    for parse, defaults in ((parse_search, SEARCH), (parse_retrain, RETRAIN)):
        config = parse([])
        for name, value in {**COMMON, **defaults}.items():
            assert getattr(config, name) == value, name
    arch = "[[0,4,0,1,0,4,1,1,0,1,3,4,1,0,0,3,1,1,0,4],[0,3,0,0,1,0,1,0,1,0,0,0,1,4,1,0,1,1,1,4]]"
    assert parse_genotype(parse_retrain([]).arch) == parse_genotype(arch) == parse_genotype(DEFAULT_ARCH)


def test_published_commands_parse():
    search = parse_search(shlex.split(PUBLISHED_SEARCH))
    assert (search.blocks, search.num_class, search.seed, search.weight_decay) == ((2, 2), 30, 0, 3e-4)
    retrain = parse_retrain(shlex.split(PUBLISHED_RETRAIN))
    assert (retrain.blocks, retrain.child_out_filters, retrain.data) == ((2, 2), 40, "../data/exp_data/AID_50")
    parse_genotype(retrain.arch, blocks=retrain.blocks)
    assert search.given == {
        *("save", "seed", "batch_size", "child_out_filters", "data"),
        *("num_class", "epochs", "blocks", "weight_decay"),
    }


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("name", ["--droppath", "--drop_prob"])
def test_both_names_of_drop_path_are_accepted_by_both(parse, name):
    assert parse([name, "0.2"]).drop_prob == 0.2


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("name", ["tensorboard", "child_use_aux_heads", "sync_bn", "flip"])
def test_booleans(parse, name):
    assert getattr(parse([f"--{name}"]), name) is True
    assert getattr(parse([f"--no-{name}"]), name) is False


def test_one_genotype_an_update_cannot_be_compared_with_its_own_mean(capsys):
    with pytest.raises(SystemExit) as end:
        parse_search(["--advantage", "normalised"])
    assert end.value.code == 2
    assert "--controller_samples" in capsys.readouterr().err
    assert parse_search(["--advantage", "normalised", "--controller_samples", "2"]).advantage == "normalised"


def test_a_recipe_of_a_search_sets_what_is_not_given_and_the_published_one_is_the_defaults():
    tuned = dict(SEARCH_RECIPES["tuned"])
    share = tuned.pop("warmup_share")
    positions = vars(parse_search(["--recipe", "tuned", "--space", "nasbench201"]))
    assert tuned.pop("positions").items() <= positions.items()
    assert [parse_search(["--recipe", name]).warmup_epochs / 150 for name in ("published", "tuned")] == [0, share]
    assert parse_search(["--recipe", "tuned", "--warmup_epochs", "3"]).warmup_epochs == 3
    defaults = vars(SearchConfig())
    assert {name: value for name, value in vars(parse_search([])).items() if name != "blocks"} == {
        name: value for name, value in defaults.items() if name != "blocks"
    }
    config = parse_search(["--recipe", "tuned"])
    assert {name: getattr(config, name) for name in tuned} == tuned
    assert config.given == {"recipe"}
    given = parse_search(["--recipe", "tuned", "--controller_lr", "3.5e-5", "--no-canonical"])
    assert (given.controller_lr, given.canonical, given.advantage) == (3.5e-5, False, "normalised")
    with pytest.raises(SystemExit):  # what contradicts itself with the recipe's parts
        parse_search(["--recipe", "tuned", "--controller_samples", "1"])


def test_a_search_by_gradients_halves_the_images_unless_told_and_has_a_recipe():
    assert parse_search(["--searcher", "darts"]).reward_fraction == 0.5
    assert parse_search(["--searcher", "darts", "--reward_fraction", "0.2"]).reward_fraction == 0.2
    config = parse_search(["--searcher", "darts", "--space", "darts", "--recipe", "darts"])
    assert (config.batch_size, config.epochs, config.child_out_filters, config.blocks) == (64, 50, 16, (8,))
    assert (config.child_lr_max, config.child_lr_min, config.weight_decay) == (0.025, 0.001, 3e-4)
    assert (config.grad_clip, config.order, config.cutout, config.child_use_aux_heads) == (5, 1, 0, False)


def test_the_controller_of_enas_has_no_temperature_unless_given():
    for words, temperature in (([], 1), (["--recipe", "tuned"], 1), (["--controller_temperature", "5"], 5)):
        assert parse_search(["--controller", "enas", *words]).controller_temperature == temperature
    assert parse_search(["--controller", "slnas"]).controller_temperature == 5


def test_every_flag_is_read_somewhere():
    names = {f.name for config in (SearchConfig, RetrainConfig) for f in fields(config)}
    read = set()
    for path in [*ROOT.glob("*.py"), *(ROOT / "utils").rglob("*.py"), *(ROOT / "engine").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in ("config", "c"):
                read.add(node.attr)
    read |= {f.name for f in fields(Recipe)}  # choose_recipe takes them all
    assert names <= read, names - read


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers(value):
    for parse, fits in (
        (flags.positive_int, 0 < value <= flags.MANY),
        (flags.count, 0 <= value <= flags.MANY),
        (flags.filters, 0 < value <= flags.WIDEST and value % 2 == 0),
    ):
        if fits and value <= flags.LARGEST:
            assert parse(str(value)) == value
        else:
            with pytest.raises(argparse.ArgumentTypeError) as error:
                parse(str(value))
            assert str(value) in str(error.value)


@given(st.floats())
def test_real_numbers(value):
    usable = math.isfinite(value) and abs(value) <= flags.LARGEST
    for parse, fits in (
        (flags.positive, value > 0),
        (flags.non_negative, value >= 0),
        (flags.probability, 0 <= value < 1),
        (flags.fraction, 0 < value < 1),
    ):
        if usable and fits:
            assert parse(repr(value)) == value
        else:
            with pytest.raises(argparse.ArgumentTypeError) as error:
                parse(repr(value))
            assert repr(value) in str(error.value)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8))
def test_blocks_round_trip(counts):
    assert BLOCKS(str(counts)) == tuple(counts)


@given(st.text() | st.text("/\\.~:* a") | st.text(min_size=250, max_size=300))
def test_run_names_are_folder_names_everywhere_or_refused(text):
    try:
        name = flags.save_name(text)
    except argparse.ArgumentTypeError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert re.fullmatch(r"[\w.-]+", name)
    assert len(name.encode()) < 160
    assert not name.startswith(".")
    assert flags.save_name(name) == name


@given(st.text("abcXYZ019._-", min_size=1, max_size=100).filter(lambda t: t.strip(".") == t and t.strip("_")))
def test_good_run_names_stay(text):
    assert flags.save_name(text) == text


def test_names_that_differ_stay_different():
    names = ["猫", "犬", "a b", "a_b", "a:b", "é", "x" * 300, "x" * 301, "CON", "_CON"]
    assert len({flags.save_name(name) for name in names}) == len(names)
    assert flags.save_name("猫") == "猫"
    assert flags.save_name("e\u0301") == flags.save_name("é"), "the same letter, written in two ways"
    with pytest.raises(argparse.ArgumentTypeError, match="is a path"):
        flags.save_name("result/first")
