"""Which method finds better networks: each as its own search of the same budget, then the same training of the winners.

    python -m studies.compare --methods slnas,enas,darts,nao,random,evolution --save first --budget 2e5 \\
        --params 0.3e6 --train_epochs 12 -- --data digits --batch_size 96

For each seed every method searches in its own way, and its winner is trained from scratch, as wide as gives all of
them the same parameters; so is a random genotype of each space (docs/studies.md, section 18). What stands behind
``--`` is for all searches, ``--enas "FLAGS"`` and its like for one of them, ``--retrain "FLAGS"`` for the retrainer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from controller.sampling import uniform
from engine.configuration import parse_retrain, parse_search
from engine.pieces import Maker, Piece, make_rows
from engine.recipes import RECIPES
from engine.tasks import TASKS
from models.cost import network_cost
from models.deployment import Deployment
from models.network import stored_genotype
from models.parts import Cost
from ops.genotype import Genotype, num_cells
from ops.space import SPACES
from studies.compare_report import DRAWN, judge, write_comparison
from studies.methods import METHODS, Plan, make_plan, restart_flags
from studies.searches import as_plain, search_method
from studies.statistics import median
from studies.study import STUDY, TRAININGS, TrainingStudyConfig, names_in, run_study, words_in
from studies.trainings import Training, agrees, fitting_filters, retrain_flags, settings_of, train_all
from utils.config import BLOCKS
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed
from utils.system.signals import StopRequest

SEARCHED = tuple(name for name, space in SPACES.items() if space.searched)
SEARCHES, SIZES = "searches", "size of networks"
ABOUT = {
    "prog": "python -m studies.compare",
    "about": "Compare methods: each its own search of the same budget, then the same training of what they find.",
    "example": "python -m studies.compare --methods slnas,random --save first --budget 2e5 --train_epochs 12 -- "
    "--data digits",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(TrainingStudyConfig):
    """The flags of a comparison of methods."""

    methods: str = flag(",".join(METHODS), "names with commas", STUDY)
    seeds: tuple[int, ...] = flag(
        (0, 1, 2), "of searches and trainings; more can be added later", STUDY, type=numbers.seeds, default_text="0,1,2"
    )
    budget: float = flag(2e5, "images that each search passes through its networks", SEARCHES,
                         type=numbers.positive)  # fmt: skip
    space: str = flag("slnas", "of those that have none of their own", SEARCHES, choice=SEARCHED)
    slnas: str = flag("", "more flags for this search, as one word", SEARCHES, metavar='"FLAGS"')
    shared: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    halving: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    zero_cost: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    enas: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    darts: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    nao: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    random: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    evolution: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    regularized_evolution: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')
    predictor: str = flag("", "likewise", SEARCHES, metavar='"FLAGS"')

    search_filters: int = flag(16, "of the shared weights", SIZES, type=numbers.filters)
    blocks: tuple[int, ...] = flag((1, 1), "of slnas and nasbench201, searched and trained", SIZES, type=BLOCKS)
    enas_layers: int = flag(3, "of enas, likewise: two more cells", SIZES, type=numbers.positive_int)
    darts_layers: int = flag(5, "of darts, likewise", SIZES, type=numbers.positive_int)
    random_genotypes: int = flag(
        1, "trained a seed and space without a search; their median counts", SIZES, type=numbers.positive_int
    )
    params: float = flag(
        0.3e6, "of every network that is trained, to 10 %; 0: all have the filters of the search", SIZES,
        type=numbers.non_negative,
    )  # fmt: skip

    train_recipe: str = flag("published", "--recipe of the trainings", TRAININGS, choice=RECIPES)
    train_epochs: int = flag(12, "of each training", TRAININGS, type=numbers.positive_int)
    retrain: str = flag("", "more flags for the retrainer, as one word", TRAININGS, metavar='"FLAGS"')


@dataclass(frozen=True)
class Comparison:
    """What is to be done. ``flags``: of the trainings but for the width; the rest by space.

    ``deployed``: the network that is trained; ``drawn``: genotypes of every seed, without any search.
    """

    config: CompareConfig
    plans: tuple[Plan, ...]
    flags: tuple[str, ...]
    deployed: Mapping[str, Deployment]
    drawn: Mapping[str, Sequence[Sequence[Genotype]]]
    settings: Mapping[str, Any]


def prepare(config: CompareConfig, _stop: StopRequest) -> Comparison:
    """Refuse what cannot be compared, before anything is made."""
    stages = dict.fromkeys(("slnas", "nasbench201"), config.blocks)
    plans, depths = [], {**stages, "enas": (config.enas_layers,), "darts": (config.darts_layers,)}
    for name in names_in("methods", config.methods, METHODS):
        space = METHODS[name].space or config.space
        # Stages of blocks are what our space has; the others are one stack of cells.
        [depth, *_] = blocks = depths[space]
        stacked = ["--layers", str(depth), "--deploy_layers", str(depth)]
        size = ["--blocks", json.dumps(blocks)] if not SPACES[space].stacked else stacked
        size += ["--child_out_filters", str(config.search_filters), "--device", config.device]
        further = words_in(name, getattr(config, name))
        plans.append(make_plan(name, space, size, config.rest, further, config.budget))
    flags = retrain_flags(
        flags_of(parse_search(config.rest)),  # data alone: a method's recipe has no part in the trainings
        config.device,
        {"recipe": config.train_recipe, "epochs": config.train_epochs},
        words_in("retrain", config.retrain),
    )
    flags = (*flags, *restart_flags(parse_retrain(flags)))
    settings: dict[str, Any] = {  # what pieces are bound to
        "budget": f"images={config.budget:g}",  # as studies of before state it, which go on
        # Epochs are no setting: they follow from the budget.
        "searches": {plan.name: plan.settings() for plan in plans},
        "parameters": config.params,
        **({} if config.random_genotypes == 1 else {"random genotypes a seed": config.random_genotypes}),
        "depths": {plan.space: list(depths[plan.space]) for plan in plans},
    }
    deployed, drawn = {}, {}
    for space in settings["depths"]:
        drawn[space] = [random_genotypes(space, config.random_genotypes, seed) for seed in config.seeds]
        # Any genotype of a space shows what its trainings depend on, so the first one is built.
        trained, deployed[space] = settings_of(flags, drawn[space][0][0], depths[space])
        if config.params:
            require_reachable([g for of_seed in drawn[space] for g in of_seed], deployed[space], config.params)
        del trained["network"]  # which differs from space to space
        trained.pop("--child_out_filters", None)  # every genotype has its own
        settings["trained alone"] = trained
    return Comparison(config, tuple(plans), flags, deployed, drawn, json.loads(json.dumps(settings)))


def random_genotypes(space: str, n: int, seed: int) -> tuple[Genotype, ...]:
    """Uniform genotypes of the space, without any search; the first ones stay when more are wanted."""
    # Of the space too: no two spaces share a draw.
    generator = torch.Generator().manual_seed(derived_seed(seed, "random genotype", space))
    sharing = SPACES[space].sharing or "type"
    # One by one, so that more of them begin with the same ones.
    return tuple(uniform(1, num_cells(sharing, ()), sharing, generator, space)[0] for _ in range(n))


def require_reachable(genotypes: Sequence[Genotype], deployment: Deployment, parameters: float) -> None:
    """Refuse a number of parameters that most networks of a space cannot have to 10 %. Raises UsageError."""
    # Few filters are a coarse measure: single genotypes may miss, and are named in study.md.
    fits = [fitting_filters(g, deployment.spec, deployment.image_size, parameters) for g in genotypes]
    misses = [(filters, cost) for filters, cost in fits if not agrees(cost, parameters)]
    if 2 * len(misses) > len(genotypes):
        filters, cost = misses[0]
        raise UsageError(
            f"--params {parameters:g}: networks of the space {deployment.spec.space} come no nearer than "
            f"{cost.parameters}, with {filters} filters; choose others, or another depth"
        )


def work(c: Comparison, log: RunLog, make_pieces: Maker) -> None:
    """Search, train the winners and the random genotypes, and write what came out."""
    seeds = c.config.seeds
    pieces = {
        plan.name: [
            Piece(
                log.folder / "searches" / f"{plan.name}-seed{seed}.json",
                partial(search_method, plan.adapted(plan.epochs), log.folder, plan.name, seed),
            )
            for seed in seeds
        ]
        for plan in c.plans
    }
    searches = make_rows(pieces, make_pieces)
    picks = {name: [stored_genotype(winner["genotype"]) for winner in row] for name, row in searches.items()}
    for space, of_seeds in c.drawn.items():  # every seed has as many, so the first of all seeds are a pick, and so on
        picks |= {f"{DRAWN}{space} {k}": genotypes for k, genotypes in enumerate(zip(*of_seeds, strict=True))}
    results = train(c, picks, log.folder / "standalone", make_pieces)  # a pick that two methods share is trained once
    # A task without labels is searched on, and its winners are trained on labels.
    measure = TASKS[TASKS[c.plans[0].searched.task].retrained_as].final_measure
    for space in c.drawn:
        numbered = [results.pop(f"{DRAWN}{space} {k}") for k in range(c.config.random_genotypes)]
        # The median one of every seed.
        by_seed = zip(*numbered, strict=True)
        results[DRAWN + space] = [median(row, lambda one: one[f"valid/{measure}"]) for row in by_seed]
    write_comparison(log, judge(c.settings, seeds, measure, searches, results))


def train(
    c: Comparison, picks: Mapping[str, Sequence[Genotype]], folder: Path, make_pieces: Maker
) -> dict[str, list[dict[str, Any]]]:
    """Train every pick from scratch, with the seed of its search: the results by name, one a seed."""

    def width(genotype: Genotype) -> tuple[int, Cost]:
        deployed = c.deployed[genotype.space]
        if not c.config.params:
            spec = replace(deployed.spec, filters=c.config.search_filters)
            return spec.filters, network_cost(genotype, spec, deployed.image_size)
        return fitting_filters(genotype, deployed.spec, deployed.image_size, c.config.params)

    def training(genotype: Genotype, seed: int) -> Training:
        flags = (*c.flags, "--child_out_filters", str(width(genotype)[0]))
        return Training(folder, flags, genotype, c.deployed[genotype.space].spec.blocks, seed, timed=True)

    def sized(genotype: Genotype, result: Mapping[str, Any]) -> dict[str, Any]:
        filters, cost = width(genotype)
        size = {"filters": filters, "macs": cost.macs, "agrees": not c.config.params or agrees(cost, c.config.params)}
        return {**result, **size, "genotype": as_plain(genotype)}

    rows = train_all({name: list(map(training, row, c.config.seeds)) for name, row in picks.items()}, make_pieces)
    return {name: list(map(sized, picks[name], row)) for name, row in rows.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; see --help."""
    return run_study(CompareConfig, argv, prepare, work, **ABOUT)


if __name__ == "__main__":
    sys.exit(main())
