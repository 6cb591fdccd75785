"""Which method finds better networks: each as its own search of the same budget, then the same training of the winners.

    python -m studies.compare --methods slnas,enas,darts,nao,random,evolution --save first --budget seconds=600 \\
        --params 0.3e6 --train_epochs 12 -- --data digits --batch_size 96

For each seed every method searches in its own way, and its winner is trained from scratch, as wide as gives all of
them the same parameters; so is a random genotype of each space (docs/method.md, section 18.1). What stands behind
``--`` is for all searches, ``--enas "FLAGS"`` and its like for one of them, ``--retrain "FLAGS"`` for the retrainer.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from controller.sampling import uniform
from engine.recipes import RECIPES
from engine.tasks import TASKS
from models.deployment import Deployment
from ops.genotype import Genotype, GenotypeError
from ops.space import SPACES
from studies.budgets import Budget, budget
from studies.folder import study_folder
from studies.method_plans import METHODS, Plan, allowed, fitting_epochs, make_plan, restart_flags, search_words
from studies.method_runs import agrees, fitting_filters, search_method, train_timed, written
from studies.method_tables import DRAWN, judge_methods, write_methods
from studies.options import ALONE, STUDY, StudyConfig, chosen, parse_study, require_one_process
from studies.pieces import Piece, key_of, make
from studies.standalone import alone_flags, require_own, settings_of
from utils.config import BLOCKS, parse_retrain, parse_search
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.command import command
from utils.system.errors import UsageError
from utils.system.processes import World
from utils.system.seeds import derived_seed
from utils.system.signals import StopRequest, stop_requests
from utils.system.terminal import show

TEN_MINUTES = Budget("seconds", 600.0)
SEARCHED = tuple(name for name, space in SPACES.items() if space.searched)
SEARCHES, SIZES = "searches", "size of networks"
ABOUT = {
    "prog": "python -m studies.compare --methods NAMES",
    "about": "Compare methods: each its own search of the same budget, then the same training of what they find.",
    "example": "python -m studies.compare --methods slnas,random --save first --budget images=2e5 --train_epochs 12 -- "
    "--data digits",
}


@dataclass(frozen=True, kw_only=True)
class MethodsConfig(StudyConfig):
    """What a comparison of methods is told."""

    methods: str = flag(",".join(METHODS), "names with commas", STUDY)
    seeds: tuple[int, ...] = flag(
        (0, 1, 2), "of searches and trainings; more can be added later", STUDY, type=numbers.seeds, said="0,1,2"
    )
    budget: Budget = flag(  # noqa: RUF009 - a tuple, which cannot change
        TEN_MINUTES, "of each search: seconds=600 or images=2e6", SEARCHES, type=budget, said="seconds=600"
    )
    space: str = flag("slnas", "of random and evolution", SEARCHES, choices=SEARCHED)
    slnas: str = flag("", "more flags for this search, as one word", SEARCHES, metavar='"FLAGS"')
    enas: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    darts: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    nao: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    random: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    evolution: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')

    search_filters: int = flag(16, "of the shared weights", SIZES, type=numbers.filters)
    blocks: tuple[int, ...] = flag((1, 1), "of slnas, searched and trained", SIZES, type=BLOCKS)
    enas_layers: int = flag(3, "of enas, likewise: two more cells", SIZES, type=numbers.positive_int)
    darts_layers: int = flag(5, "of darts, likewise", SIZES, type=numbers.positive_int)
    random_genotypes: int = flag(
        1, "trained a seed and space without a search; their median counts", SIZES, type=numbers.positive_int
    )
    params: float = flag(0.3e6, "of every network that is trained, to 10 %", SIZES, type=numbers.positive)

    train_recipe: str = flag("published", "--recipe of the trainings", ALONE, choices=RECIPES)
    train_epochs: int = flag(12, "of each training", ALONE, type=numbers.positive_int)
    retrain: str = flag("", "more flags for the retrainer, as one word", ALONE, metavar='"FLAGS"')


@dataclass(frozen=True)
class Comparison:
    """What is to be done. ``alone``: flags of the trainings but for the width; the rest by space.

    ``deployed``: the network that is trained; ``drawn``: genotypes of every seed, without any search.
    """

    config: MethodsConfig
    plans: tuple[Plan, ...]
    alone: tuple[str, ...]
    deployed: Mapping[str, Deployment]
    drawn: Mapping[str, Sequence[Sequence[Genotype]]]
    settings: Mapping[str, Any]


def words_of(name: str, text: str) -> list[str]:
    """The flags in one word. Raises UsageError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--{name} {show(text)}: {error}") from None


def prepare(config: MethodsConfig) -> Comparison:
    """Refuse what cannot be compared, before anything is made."""
    require_one_process()
    names = chosen("methods", config.methods, METHODS)
    depths = {"slnas": config.blocks, "enas": (config.enas_layers,), "darts": (config.darts_layers,)}
    plans = []
    for name in names:
        space = METHODS[name].space or config.space
        words = search_words(name, space, depths[space], config.search_filters, config.rest, config.device)
        words += allowed(words_of(name, getattr(config, name)), f"--{name}")
        plans.append(make_plan(name, space, words, config.budget))
    alone = alone_flags(
        flags_of(parse_search(config.rest)),  # data alone: a method's recipe has no part in the trainings
        config.device,
        {"recipe": config.train_recipe, "epochs": config.train_epochs},
        words_of("retrain", config.retrain),
    )
    alone = (*alone, *restart_flags(parse_retrain(alone)))
    settings: dict[str, Any] = {
        "budget": str(config.budget),
        "searches": {plan.name: plan.settings() for plan in plans},
        "parameters": config.params,
        **({} if config.random_genotypes == 1 else {"random genotypes a seed": config.random_genotypes}),
    }
    deployed, drawn = {}, {}
    for space in dict.fromkeys(plan.space for plan in plans):
        drawn[space] = [random_genotypes(space, config.random_genotypes, seed) for seed in config.seeds]
        found, deployed[space] = settings_of(alone, drawn[space][0][0], depths[space])
        require_reachable([g for own in drawn[space] for g in own], deployed[space], config.params)
        settings |= {"trained alone": {k: v for k, v in found.items() if k not in ("network", "--child_out_filters")}}
        settings.setdefault("depths", {})[space] = list(depths[space])
    return Comparison(config, tuple(plans), alone, deployed, drawn, json.loads(json.dumps(settings)))


def random_genotypes(space: str, n: int, seed: int) -> tuple[Genotype, ...]:
    """Uniform genotypes of the space, without any search; the first ones stay when more are asked for."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "random genotype", space))
    return tuple(uniform(1, 2, "type", generator, space)[0] for _ in range(n))


def require_reachable(genotypes: Sequence[Genotype], deployment: Deployment, parameters: float) -> None:
    """Refuse a number of parameters that most networks of a space cannot have to 10 %. Raises UsageError."""
    found = [fitting_filters(g, deployment.spec, deployment.image_size, parameters) for g in genotypes]
    missing = [(filters, cost) for filters, cost in found if not agrees(cost, parameters)]
    if 2 * len(missing) > len(genotypes):
        filters, cost = missing[0]
        raise UsageError(
            f"--params {parameters:g}: networks of the space {deployment.spec.space} come no nearer than "
            f"{cost.parameters}, with {filters} filters; ask for others, or for another depth"
        )


def searches(c: Comparison, log: RunLog, stop: StopRequest) -> dict[str, list[dict[str, Any]]]:
    """Run every search of every method: what it found, by method, one a seed."""
    pieces = [
        Piece(
            log.folder / "searches" / f"{plan.name}-seed{seed}.json",
            partial(search_method, plan.whole(), log.folder, plan.name, seed),
        )
        for plan in c.plans
        for seed in c.config.seeds
    ]
    found, n = make(pieces, jobs=c.config.jobs, stop=stop, say=log.line), len(c.config.seeds)
    return {plan.name: found[i * n : (i + 1) * n] for i, plan in enumerate(c.plans)}


def trainings(
    c: Comparison, picked: Mapping[str, Sequence[Genotype]], log: RunLog, stop: StopRequest
) -> dict[str, list[dict[str, Any]]]:
    """Train every pick from scratch, with the seed of its search: the results by name, one a seed."""
    pieces, sizes, owners = [], [], []
    for name, genotypes in picked.items():
        for genotype, seed in zip(genotypes, c.config.seeds, strict=True):
            deployment = c.deployed[genotype.space]
            filters, cost = fitting_filters(genotype, deployment.spec, deployment.image_size, c.config.params)
            flags = (*c.alone, "--child_out_filters", str(filters))
            path = log.folder / "standalone" / f"{key_of(genotype)}-seed{seed}.json"
            pieces.append(Piece(path, partial(train_timed, flags, genotype, deployment.spec.blocks, seed)))
            sizes.append({"filters": filters, "macs": cost.macs, "agrees": agrees(cost, c.config.params)})
            owners.append((name, genotype, seed))
    unique = list({piece.path: piece for piece in pieces}.values())  # methods may agree
    made = make(unique, jobs=c.config.jobs, stop=stop, say=log.line)
    results = {piece.path: result for piece, result in zip(unique, made, strict=True)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in picked}
    for piece, size, (name, genotype, seed) in zip(pieces, sizes, owners, strict=True):
        require_own(piece, results[piece.path], genotype, seed)
        found[name].append({**results[piece.path], **size, "genotype": written(genotype)})
    return found


def medians(results: Sequence[Sequence[Mapping[str, Any]]], measure: str) -> list[Mapping[str, Any]]:
    """Of trainings of several genotypes, each once a seed, the median one of every seed; of two, the worse."""
    by_seed = zip(*results, strict=True)
    return [sorted(own, key=lambda one: one[f"valid/{measure}"])[(len(own) - 1) // 2] for own in by_seed]


def genotype_of(found: Mapping[str, Any]) -> Genotype:
    """The winner of a search."""
    plain = found["genotype"]
    return Genotype.from_lists(plain["cells"], plain["sharing"], plain["space"], plain["concat"])


def main(argv: Sequence[str]) -> int:
    """Run a comparison of methods; see --help. Exits with 2 for what is refused and 1 for a fault during the work."""
    config = parse_study(MethodsConfig, argv, **ABOUT)
    with command("studies.compare", GenotypeError, again="the same command") as state, stop_requests(World()) as stop:
        c = prepare(config)
        stop.check()
        with study_folder(config.result, config.save, c.settings) as log:
            if config.budget.kind == "seconds":  # the first epochs are timed before it is known what fits
                c = replace(c, plans=fitting_epochs(c.plans, config.budget, log, stop, config.jobs))
            state.started(log)
            found = searches(c, log, stop)
            picked = {name: [genotype_of(one) for one in own] for name, own in found.items()}
            searched = TASKS[c.plans[0].searched.task]
            n, measure = config.random_genotypes, TASKS[searched.retrained_as].final_measure
            numbered = {space: [f"{DRAWN}{space} {k}" for k in range(n)] for space in c.drawn}
            for space, own in c.drawn.items():
                picked |= dict(zip(numbered[space], zip(*own, strict=True), strict=True))
            results = trainings(c, picked, log, stop)
            for space, names in numbered.items():
                results[DRAWN + space] = medians([results.pop(name) for name in names], measure)
            write_methods(log, judge_methods(c.settings, config.seeds, measure, found, results))
    return 0
