"""The flags of a command line, completed and checked: what the tables of all rooms say about them, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeVar

from controller.reinforce import ADVANTAGES, OPTIMIZERS
from controller.relaxation import RELAXATIONS
from controller.strategies import CONTROLLERS, GRADIENT, STRATEGIES
from data.datasets import KINDS
from data.sources import BAD_IMAGES, CACHES
from data.transforms import POLICIES
from engine.jobs import require_jobs
from engine.precision import BACKENDS, OPT_LEVELS, PRECISIONS
from engine.recipes import OTHER_FLAGS, RECIPES, SEARCH_RECIPES, choose_recipe
from engine.schedule import SCHEDULES
from engine.tasks import SCORES, TASKS
from models.export import FORMATS
from models.proxies import PROXIES, ZERO_COST
from models.stems import STEMS
from models.supernet import BN_STATS
from ops.genotype import SHARINGS
from ops.primitives import ANTIALIAS
from ops.space import SPACES, EdgeSpace
from utils.config import RETRAIN, SEARCH, SHARED, CommonConfig, RetrainConfig, SearchConfig, make_parser
from utils.system.errors import UsageError

Config = TypeVar("Config", bound=CommonConfig)

COMMON_TABLES: dict[str, Iterable[str]] = {
    "dataset": KINDS,
    "bad_images": BAD_IMAGES,
    "cache": CACHES,
    "lr_schedule": SCHEDULES,
    "space": SPACES,
    "stem": STEMS,
    "sharing": SHARINGS,
    "antialias": ANTIALIAS,
    "task": TASKS,
    "precision": PRECISIONS,
    "amp_backend": BACKENDS,
    "opt_level": OPT_LEVELS,
}


def rankers_in(text: str) -> tuple[str, ...]:
    """The rankers that --rank_by names, each once. Raises UsageError for one that is not known."""
    names: list[str] = []
    for name in text.split(","):
        if name not in (known := (SHARED, "zero_cost", *PROXIES)):
            raise UsageError(f"--rank_by {name!r} is none of {', '.join(known)}")
        names += ZERO_COST if name == "zero_cost" else [name]
    return tuple(dict.fromkeys(names))


def search_choices() -> dict[str, Iterable[str]]:
    """By flag of a search, the names that it takes, as the tables have them now."""
    return {
        **COMMON_TABLES,
        "recipe": SEARCH_RECIPES,
        "searcher": list(chain(STRATEGIES, GRADIENT)),
        "score": SCORES,
        "deploy_stem": STEMS,
        "bn_stats": BN_STATS,
        "controller": CONTROLLERS,
        "controller_optimizer": OPTIMIZERS,
        "advantage": ADVANTAGES,
        "rank_by": [SHARED, "zero_cost", *PROXIES],
    }


def retrain_choices() -> dict[str, Iterable[str]]:
    """By flag of a retraining, the names that it takes, as the tables have them now."""
    return {**COMMON_TABLES, "recipe": RECIPES, "augment": POLICIES, "export": FORMATS}


def parse_search(argv: Sequence[str] | None = None) -> SearchConfig:
    """The flags of a search. Exits with status 2 and one line on standard error for what cannot be."""
    parser = make_parser(SearchConfig, search_choices(), **SEARCH)
    # What the parser leaves out takes the default of its field: `given` tells it from a default that was typed.
    given = vars(parser.parse_args(argv))
    config = SearchConfig(**given, given=frozenset(given))
    # The recipe fills in before the task, which may change what the recipe says.
    config = _task_defaults(_filled(config, _search_defaults(config)))
    return _checked(parser, config, check_search)


def parse_retrain(argv: Sequence[str] | None = None) -> RetrainConfig:
    """The flags of a retraining. Exits with status 2 and one line on standard error for what cannot be."""
    parser = make_parser(RetrainConfig, retrain_choices(), **RETRAIN)
    given = vars(parser.parse_args(argv))
    config = RetrainConfig(**given, given=frozenset(given))
    config = _task_defaults(_filled(config, OTHER_FLAGS.get(config.recipe, {}) | giving_way(config)))
    return _checked(parser, config, check_retrain)


def giving_way(config: RetrainConfig) -> dict[str, Any]:
    """The parts of the recipe that the task cannot have, turned off; what was given for them is refused instead."""
    on, parts = vars(RECIPES[config.recipe]), TASKS[config.task].kept_off
    return {name: off for name, off in parts.items() if name not in config.given and on.get(name, off) != off}


def _filled(config: Config, defaults: Mapping[str, Any]) -> Config:
    """The flags with these defaults, but for those that are on the command line."""
    return replace(config, **{name: value for name, value in defaults.items() if name not in config.given})


def _search_defaults(config: SearchConfig) -> dict[str, Any]:
    """What the recipe, the strategy and the space say of the other flags."""
    recipe = dict(SEARCH_RECIPES[config.recipe])
    warmup_share, positions = recipe.pop("warmup_share", 0.0), recipe.pop("positions", {})
    space, settled = SPACES[config.space], _filled(config, recipe)
    defaults = {**recipe, "warmup_epochs": int(warmup_share * settled.epochs), "sharing": space.sharing or "type"}
    if settled.controller == "enas":  # which has no temperature
        defaults["controller_temperature"] = 1.0
    if "blocks" not in config.given:  # the depth of a stack is the one number of its blocks
        defaults["blocks"] = (config.layers,) if space.stacked and config.layers else space.depths[0]
    if isinstance(space, EdgeSpace):
        defaults |= positions
    if settled.searcher in GRADIENT:
        # As published as many images as the weights have; and it ends with one genotype, which has no rival.
        defaults |= {"reward_fraction": 0.5, "finals": 0}
    fitting = TASKS[config.task].untrained_rankers
    if fitting is not None:  # the recipe gives way where a task cannot have its rankers
        rankers = [name for name in rankers_in(settled.rank_by) if name in (SHARED, *fitting)]
        defaults["rank_by"] = ",".join(rankers) or SHARED
    return defaults


def _task_defaults(config: Config) -> Config:
    """The flags with the defaults that the task changes."""
    # Last, since it looks at the others.
    return replace(config, **TASKS[config.task].changed_defaults(vars(config), config.given))


def _checked(parser: Any, config: Config, check: Callable[[Config], None]) -> Config:
    """The flags, unless some of them contradict each other: then the parser ends the process.

    Of a run that goes on most of them are in its checkpoint: they are checked once that is read.
    """
    try:
        if config.resume is None:
            check(config)
    except UsageError as error:
        parser.error(str(error))
    return config


def _check_common(config: CommonConfig, choices: Mapping[str, Iterable[str]]) -> None:
    """Refuse names that no table has, as an edited checkpoint may hold them, and learning rates that would rise."""
    for name, known in choices.items():
        if getattr(config, name) not in (None, *known):
            raise UsageError(f"--{name} {getattr(config, name)!r} is none of {', '.join(known)}")
    if config.child_lr_min > config.child_lr_max:
        raise UsageError(f"--child_lr_min {config.child_lr_min} is above --child_lr_max {config.child_lr_max}")


def check_search(config: SearchConfig) -> None:
    """Raise UsageError for flags of a search that contradict each other."""
    _check_common(config, {name: names for name, names in search_choices().items() if name != "rank_by"})
    for name in rankers_in(config.rank_by):
        TASKS[config.task].require_ranker(name)
    if config.advantage == "normalised" and config.controller_samples < 2:
        raise UsageError("--advantage normalised compares the genotypes of an update: --controller_samples 2 or more")
    if config.nao_replace >= config.nao_pool:
        raise UsageError(f"--nao_replace {config.nao_replace} leaves nothing of --nao_pool {config.nao_pool}")
    if config.nao_best > config.nao_pool:
        raise UsageError(f"--nao_best {config.nao_best} is more than --nao_pool {config.nao_pool} has")
    _check_finals(config)
    _check_space(config)
    _check_gradients(config)


def _check_finals(config: SearchConfig) -> None:
    """Refuse finals that compare nothing, and what a search without a supernet cannot have."""
    require_jobs(config)
    if config.finals == 1:
        raise UsageError("--finals 1 compares nothing: 2 or more, or 0 for none")
    if config.finals and config.searcher in GRADIENT:
        raise UsageError(f"--finals: --searcher {config.searcher} derives one genotype, which has no rival")
    if not config.epochs:
        if SHARED in rankers_in(config.rank_by):
            raise UsageError(f"--epochs 0 trains no shared weights, which --rank_by {config.rank_by} reads")
        if config.searcher != "random":
            raise UsageError(f"--epochs 0 has no scores for --searcher {config.searcher} to learn from: random")


def _check_space(config: SearchConfig) -> None:
    """Refuse a space that cannot be searched, and the depth of another kind of network."""
    space = SPACES[config.space]
    if not space.searched:
        searched = ", ".join(name for name, other in SPACES.items() if other.searched)
        raise UsageError(f"--space {space.name} has no supernet: search {searched}")
    unfit = ("blocks", "deploy_blocks") if space.stacked else ("layers", "deploy_layers")
    for name in unfit:
        if name in config.given:
            kind = "stacks its cells: give --layers" if space.stacked else "has stages: give --blocks"
            raise UsageError(f"--{name}: --space {space.name} {kind}")
    if space.sharing not in (None, config.sharing):
        raise UsageError(f"--sharing {config.sharing}: --space {space.name} shares its cells by {space.sharing}")
    if isinstance(space, EdgeSpace) and "controller" in config.given:
        raise UsageError(f"--controller: --space {space.name} has one of its own, which names an operation an edge")


def _check_gradients(config: SearchConfig) -> None:
    """Refuse what a search by gradients cannot have, and its own flags where another strategy searches."""
    searcher = f"--searcher {config.searcher}"
    if config.searcher not in GRADIENT:
        for name, default in {"order": 1, "arch_lr": 3e-4, "arch_weight_decay": 1e-3}.items():
            if getattr(config, name) != default:  # by value: the usual one does no harm
                raise UsageError(f"--{name} is for --searcher {' or '.join(GRADIENT)}: {searcher} takes no gradients")
        return
    if config.space not in RELAXATIONS:
        raise UsageError(f"{searcher} does not search --space {config.space}: it knows {', '.join(RELAXATIONS)}")
    unfit = {
        **dict.fromkeys(("max_params", "max_macs", "max_latency_ms"), "derives one genotype, within no limits"),
        "path_sampling": "samples no genotypes",
        "drop_prob": "mixes all operations, and drops none",
    }
    for name, why in unfit.items():
        if name in config.given and getattr(config, name) not in (0, "policy"):  # 0 is off, and "policy" the default
            raise UsageError(f"--{name}: {searcher} {why}")


def check_retrain(config: RetrainConfig) -> None:
    """Raise UsageError for flags of a retraining that contradict each other, or that its task cannot have."""
    _check_common(config, retrain_choices())
    if not config.epochs:
        raise UsageError("--epochs 0 trains nothing")
    task = TASKS[config.task]
    if config.export:
        task.require_exportable()
    recipe = choose_recipe(config.recipe, vars(config))  # its parts may mix or move images without a flag
    task.require_augmentation({**vars(recipe), "resolution_jitter": config.resolution_jitter})
