"""A flag is written once: its choices are those of a table, its help is there, and the page of flags has them."""

import json
from dataclasses import fields

import pytest
import torch

from controller.reinforce import ADVANTAGES, OPTIMIZERS
from controller.strategies import CONTROLLERS, GRADIENT, STRATEGIES, make_strategy
from data.datasets import KINDS, find_dataset
from data.transforms import POLICIES
from engine.configuration import parse_retrain, parse_search
from engine.flags_page import PAGE, flags_page
from engine.precision import OPT_LEVELS, PRECISIONS, choose_precision
from engine.recipes import RECIPES, SEARCH_RECIPES, choose_recipe
from engine.schedule import SCHEDULES, Schedule
from engine.tasks import TASKS
from models.deployment import Deployment
from models.export import FORMATS
from models.proxies import PROXIES, ProxyRanker
from models.spec import NetworkSpec
from models.stems import STEMS, build_stems, stem_size
from models.supernet import BN_STATS, SuperNet
from ops.genotype import SHARINGS, Genotype, num_cells
from ops.primitives import ANTIALIAS
from ops.registry import OPERATIONS
from ops.space import SPACES
from utils.config import CommonConfig, RetrainConfig, SearchConfig, flags_in, written_default
from utils.system.errors import UsageError

PARSERS = {SearchConfig: parse_search, RetrainConfig: parse_retrain}
CPU = torch.device("cpu")
TABLES = {
    "searcher": STRATEGIES,
    "searcher by gradients": GRADIENT,
    "controller": CONTROLLERS,
    "controller_optimizer": OPTIMIZERS,
    "advantage": ADVANTAGES,
    "space": SPACES,
    "task": TASKS,
    "stem": STEMS,
    "antialias": ANTIALIAS,
    "bn_stats": BN_STATS,
    "augment": POLICIES,
    "dataset": KINDS,
    "sharing": SHARINGS,
    "recipe": RECIPES,
    "recipe of a search": SEARCH_RECIPES,
    "precision": PRECISIONS,
    "opt_level": OPT_LEVELS,
    "export": FORMATS,
    "lr_schedule": SCHEDULES,
    "rank_by": PROXIES,
}


def test_the_page_of_flags_is_made_from_these_parsers():
    assert PAGE.read_text(encoding="utf-8") == flags_page(), "stale: python -m engine.flags_page"


@pytest.mark.parametrize("config", PARSERS)
def test_every_flag_has_help_and_says_its_default(config, capsys):
    with pytest.raises(SystemExit):
        PARSERS[config](["--help"])
    text = " ".join(capsys.readouterr().out.split("options:")[1].split())
    for name, flag in flags_in(config).items():
        default = written_default(flag, getattr(config(), name))
        assert flag.help.strip()
        assert f"--{name}" in text
        assert (flag.help if default is None else f"{flag.help} (default: {default})") in text


@pytest.mark.parametrize("name", TABLES)
def test_an_entry_of_a_table_is_a_choice_and_stands_on_the_page_of_flags(name, monkeypatch, capsys):
    table, searches = TABLES[name], name.endswith("of a search")
    name = name.split()[0]
    configs = [config for config in PARSERS if name in flags_in(config)]
    configs = [config for config in configs if name != "recipe" or (config is SearchConfig) == searches]
    for config in configs:
        with pytest.raises(SystemExit) as end:
            PARSERS[config]([f"--{name}", "toy"])
        assert end.value.code == 2
    capsys.readouterr()
    monkeypatch.setitem(table, "toy", next(iter(table.values())))
    assert configs
    for config in configs:
        assert getattr(PARSERS[config]([f"--{name}", "toy"]), name) == "toy"
    rows = [row for row in flags_page().splitlines() if row.startswith(f"| `--{name}`")]
    assert any("`toy`" in row for row in rows)


def use_of(name: str, monkeypatch) -> object:
    """What the owner of a table makes of the entry ``toy``, which stands for the first one."""
    deployment, images = Deployment(NetworkSpec((0,), 4, 3), "type", 8), torch.zeros(2, 3, 8, 8)
    return {
        "searcher": lambda: make_strategy("toy", 2, "type"),
        "searcher by gradients": lambda: GRADIENT["toy"](2, "type"),
        "controller": lambda: make_strategy("rl", 2, "type", controller="toy"),
        "controller_optimizer": lambda: make_strategy("rl", 2, "type", optimizer="toy"),
        "advantage": lambda: make_strategy("rl", 2, "type", advantage="toy"),
        "space": lambda: Genotype.widest(2, space="toy"),
        "task": lambda: TASKS["toy"],  # its owner is a script
        "stem": lambda: (build_stems("toy", 4, "conv"), stem_size("toy", 32)),
        "antialias": lambda: next(iter(OPERATIONS.values()))(4, 8, 2, "toy"),
        "bn_stats": lambda: SuperNet((0,), 4, 3, bn_stats="toy"),
        "augment": lambda: POLICIES["toy"](False),
        "dataset": lambda: find_dataset("digits", "toy"),
        "sharing": lambda: Genotype.widest(num_cells("toy", (1, 1)), "toy").require_fit((1, 1)),
        "recipe of a search": lambda: SEARCH_RECIPES["toy"],
        "recipe": lambda: choose_recipe("toy", {}),
        "precision": lambda: choose_precision("toy", CPU),
        "opt_level": lambda: choose_precision("auto", CPU, opt_level="toy"),
        "export": lambda: FORMATS["toy"],
        "lr_schedule": lambda: Schedule("toy", 10, 0.1, 0.0, 1, 1).lr(0),
        "rank_by": lambda: ProxyRanker("toy", deployment, 0, images)(Genotype.widest(2)),
    }[name]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_all_that_its_owner_looks_at(name, monkeypatch):
    use = use_of(name, monkeypatch)
    with pytest.raises((KeyError, ValueError, UsageError)):  # each room refuses in its way
        use()
    monkeypatch.setitem(TABLES[name], "toy", next(iter(TABLES[name].values())))
    use()


def words(name: str, value: object) -> list[str]:
    """A flag with this value, as it is typed."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", json.dumps(value) if isinstance(value, tuple) else str(value)]


@pytest.mark.parametrize("config", PARSERS)
def test_a_flag_with_its_default_value_is_given_and_changes_nothing(config):
    parse = PARSERS[config]
    assert parse([]).given == frozenset()
    assert parse([]) == config()
    for name, value in parse([]).defaults().items():
        if value is not None:
            found = parse(words(name, value))
            assert found.given == {name}
            assert found.defaults() == {k: v for k, v in vars(found).items() if k != "given"}


@pytest.mark.parametrize("config", PARSERS)
def test_a_script_overrides_defaults_of_common_flags_and_nothing_else(config):
    common, own = flags_in(CommonConfig), flags_in(config)
    assert {name: own[name] for name in common} == common
    assert {f.name for f in fields(config)} == {*own, "given"}
