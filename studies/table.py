"""How well strategies search, on a table of networks that were all trained before.

    python -m studies.table --save nb201 --searchers rl,random,regularized_evolution,predictor --seeds 100 --jobs 2

A query is a look-up: a strategy asks for a genotype and is told its ``--signal``. Its regret after some queries is what
the genotype with the best signal so far lacks to the best of the table, by ``--judged_by``, which no strategy is told
(docs/studies.md, section 27). What stands behind ``--`` are flags of strategies, as the search script takes them.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from controller.positions import Positions
from controller.sampling import NothingFitsError
from controller.strategies import STRATEGIES
from engine.configuration import parse_search
from engine.pieces import Maker, Piece, make_rows
from engine.recipes import SEARCH_RECIPES
from engine.search_setup import strategy_options
from ops.space import NASBENCH201, Space
from studies.study import STUDY, StudyConfig, names_in, require_free, run_study
from studies.table_reader import NAMED, Table, read_table, table_path
from studies.table_report import judge, write_regrets
from utils.config import SearchConfig
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed
from utils.system.signals import StopRequest

SEEDS_A_PIECE = 10  # searches that are written together: a search takes seconds
AT_ONCE = {"regularized_evolution": 1, "predictor": 5}  # genotypes an ask; the others take --controller_samples
# Flags of the search script that strategies read, and so those that may stand behind --.
OF_STRATEGIES = (
    *("controller_lr", "controller_samples", "controller_optimizer", "controller_temperature", "operation_bound"),
    *("entropy_weight", "entropy_in_loss", "bl_dec", "advantage", "nao_pool", "nao_replace", "nao_best", "nao_epochs"),
)
ABOUT = {
    "prog": "python -m studies.table",
    "about": "Compare strategies on a table of trained networks, where a score is a look-up.",
    "example": "python -m studies.table --save nb201 --searchers rl,random,predictor --seeds 100 --jobs 2",
}


@dataclass(frozen=True, kw_only=True)
class TableConfig(StudyConfig):
    """The flags of a comparison on a table."""

    searchers: str = flag("rl,random,regularized_evolution,predictor", "names with commas", STUDY)
    table: str = flag(NAMED, "a .csv or .csv.gz: a digit a position, then measures", STUDY, metavar="FILE")
    signal: str = flag("cifar10_val", "the measure that strategies are told", STUDY)
    judged_by: str = flag("cifar10_test", "the measure of which the regret is", STUDY)
    queries: tuple[int, ...] = flag(
        (50, 100, 200, 400), "after how many the regret is written", STUDY, type=numbers.query_counts,
        default_text="50,100,200,400",
    )  # fmt: skip
    seeds: int = flag(100, "searches of each strategy; more can be added later", STUDY, type=numbers.positive_int)
    recipe: str = flag("tuned", "of strategies, as for the search script", STUDY, choice=tuple(SEARCH_RECIPES))


@dataclass(frozen=True)
class Comparison:
    """What is to be done: the strategies by name, with what they read of flags, and the table."""

    config: TableConfig
    searchers: tuple[str, ...]
    searched: SearchConfig
    table: Table
    settings: Mapping[str, Any]


def prepare(config: TableConfig, _stop: StopRequest) -> Comparison:
    """Refuse what cannot be compared, before anything is made."""
    searchers = names_in("searchers", config.searchers, STRATEGIES)
    if config.seeds < 2:
        raise UsageError("--seeds 1: a mean with an interval needs 2 searches or more")
    given = parse_search(config.rest).given
    require_free(given, set(given).difference(OF_STRATEGIES))
    # Of that space, since recipes have other defaults where positions are not those of cells.
    searched = parse_search(["--recipe", config.recipe, "--space", NASBENCH201.name, *config.rest])
    path = table_path(config.table)
    table = read_table(path)
    table.require_measures({"signal": config.signal, "judged_by": config.judged_by})
    settings = {
        "table": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "options": table.options,
        "signal": config.signal,
        "queries": max(config.queries),
        "strategies": {"--recipe": config.recipe, **{f"--{name}": getattr(searched, name) for name in OF_STRATEGIES}},
    }
    return Comparison(config, searchers, searched, table, settings)


def work(c: Comparison, log: RunLog, make_pieces: Maker) -> None:
    """Let every strategy search with every seed, and write what they found."""
    config, queries = c.config, max(c.config.queries)
    of = (table_path(config.table), config.signal, c.searched, queries)

    def piece(searcher: str, first: int) -> Piece:
        seeds = range(first, min(first + SEEDS_A_PIECE, config.seeds))
        path = log.folder / "traces" / f"{searcher}-seeds{seeds[0]}-{seeds[-1]}.json"
        return Piece(path, partial(searches, searcher, seeds, *of))

    rows = {name: [piece(name, first) for first in range(0, config.seeds, SEEDS_A_PIECE)] for name in c.searchers}
    pieces = make_rows(rows, make_pieces)
    traces = {name: [trace for made in row for trace in made["searches"]] for name, row in pieces.items()}
    write_regrets(log, judge(c.settings, c.table, config.judged_by, config.queries, traces))


def searches(
    searcher: str,
    seeds: Sequence[int],
    path: Path,
    signal: str,
    config: SearchConfig,
    queries: int,
) -> dict[str, Any]:
    """The content of a piece: a search of a strategy for each of these seeds."""
    table, traces = cached_table(path), []
    threads = torch.get_num_threads()
    # One thread each: sums of several threads have other last digits, and processes beside this one have the others.
    torch.set_num_threads(1)
    with threadpool_limits(1):  # of scikit-learn's linear algebra
        for seed in seeds:
            torch.manual_seed(derived_seed(seed, "controller"))
            n = AT_ONCE.get(searcher, config.controller_samples)
            of_strategy = strategy_options(config, updates=queries // n)
            positions = Positions(Space("table", table.options))
            strategy = STRATEGIES[searcher](positions, **of_strategy)
            generator = torch.Generator().manual_seed(derived_seed(seed, "genotypes"))
            traces.append(search(strategy, table, signal, queries, n, generator))
    torch.set_num_threads(threads)
    return {"searches": traces}


cached_table: Callable[..., Table] = lru_cache(1)(read_table)  # a process makes many pieces of one table


def search(
    strategy: Any, table: Table, signal: str, queries: int, n: int, generator: torch.Generator
) -> dict[str, Any]:
    """Ask for ``n`` genotypes at a time, and tell their signals: the genotypes of all queries, one word of digits each.

    A genotype that comes again counts as a query again, though nothing new is learned from it. Proposals that the table
    does not hold are drawn again, and counted as ``outside``.
    """
    asked: list[tuple[int, ...]] = []
    outside = 0

    def fits(encoding: tuple[int, ...]) -> bool:
        nonlocal outside
        outside += encoding not in table
        return encoding in table

    start = time.perf_counter()
    while len(asked) < queries:
        try:
            proposed = strategy.ask(min(n, queries - len(asked)), generator, None if table.is_complete else fits)
        except NothingFitsError as error:
            raise UsageError(f"after {len(asked)} queries: {error}") from None
        strategy.tell([table.measure(encoding, signal) for encoding in proposed])
        asked += proposed
    seconds = time.perf_counter() - start
    return {"asked": ["".join(map(str, encoding)) for encoding in asked], "outside": outside, "seconds": seconds}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; see --help."""
    return run_study(TableConfig, argv, prepare, work, **ABOUT)


if __name__ == "__main__":
    sys.exit(main())
