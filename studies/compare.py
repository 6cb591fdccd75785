"""Which searcher finds better networks: all on the same shared weights, with equal evaluations and candidates.

    python -m studies.compare --save first --searchers rl,random,evolution --seeds 0,1,2,3,4 --standalone_epochs 12 \\
        -- --data digits --blocks "[1,1]" --child_out_filters 16 --epochs 20 --recipe tuned

For each seed the search script trains shared weights on uniform paths, every searcher searches on them while they do
not change, and what it picks is trained from scratch (docs/studies.md, section 18). What stands behind ``--`` is for
the search script, and ``--retrain "FLAGS"`` for the retrainer. With ``--methods`` each method searches on weights of
its own: see studies/methods.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from controller.strategies import STRATEGIES
from engine.configuration import parse_search
from engine.tasks import TASKS
from ops.genotype import Genotype
from studies import methods
from studies.compare_tables import MEDIAN, RANDOM, judge, write_comparison
from studies.pieces import Maker, Piece, make_rows
from studies.searches import assemble, search_frozen, train_weights
from studies.study import (
    STUDY,
    TRAININGS,
    StudyConfig,
    names_in,
    parse_study,
    require_free,
    run_study,
    stated,
    words_in,
)
from studies.trainings import RESERVED, Training, retrain_flags, settings_of, train_all
from utils.config import SearchConfig
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.context import run_context
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.errors import UsageError, WorkError
from utils.system.signals import StopRequest

# Flags of the search script that the study sets itself.
FIXED = {*RESERVED, "device", "searcher", "warmup_epochs", "controller_steps", "derive_samples", "top_k", "rank_by"}
# These two are the search's to choose; the trainings then follow it.
FIXED -= {"blocks", "sharing"}
COMPARE = {
    "prog": "python -m studies.compare",
    "about": "Compare searchers on the same shared weights, by what they pick trained from scratch. With --methods, "
    "compare whole methods, each in its own search: see --methods all --help.",
    "example": "python -m studies.compare --save first --standalone_epochs 12 -- --data digits --blocks '[1,1]' "
    "--child_out_filters 16 --epochs 20 --recipe tuned",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(StudyConfig):
    """The flags of a comparison of searchers."""

    searchers: str = flag("rl,random,evolution", "names with commas; random is what others must win", STUDY)
    seeds: tuple[int, ...] = flag(
        (0, 1, 2, 3, 4), "of weights, searchers and trainings; more can be added later", STUDY, type=numbers.seeds,
        default_text="0,1,2,3,4",
    )  # fmt: skip
    evaluations: int = flag(480, "genotypes that each searcher may ask for", STUDY, type=numbers.positive_int)
    candidates: int = flag(100, "genotypes drawn from it at its end, and ranked", STUDY, type=numbers.positive_int)
    standalone_epochs: int = flag(12, "of each training", TRAININGS, type=numbers.positive_int)
    filters: int | None = flag(
        None, "of the networks", TRAININGS, type=numbers.filters, default_text="those of the search"
    )
    retrain: str = flag("", "more flags for the retrainer, as one word", TRAININGS, metavar='"FLAGS"')


@dataclass(frozen=True)
class Comparison:
    """What is to be done: searchers by name, the flags of both scripts, and the settings that results depend on."""

    config: CompareConfig
    searchers: tuple[str, ...]
    searched: SearchConfig
    retrained: tuple[str, ...]
    blocks: tuple[int, ...]
    settings: Mapping[str, Any]


def prepare(config: CompareConfig, _stop: StopRequest) -> Comparison:
    """Refuse what cannot be compared, before anything is made."""
    searchers = names_in("searchers", config.searchers, STRATEGIES)
    if RANDOM not in searchers:
        raise UsageError(f"--searchers {config.searchers}: the others are compared with {RANDOM}, which is missing")
    if len(config.seeds) < 2:
        raise UsageError(f"--seeds {config.seeds[0]}: a paired comparison needs 2 seeds or more")
    # What stands behind -- is parsed twice: with the study's device as it will run, alone for what was given.
    searched = parse_search([*config.rest, "--device", config.device])
    require_free(parse_search(config.rest).given, FIXED)
    # Searchers are told the scores of an update together, so that only whole updates are equal budgets.
    if config.evaluations % searched.controller_samples:
        raise UsageError(
            f"--evaluations {config.evaluations} is no multiple of the {searched.controller_samples} genotypes of an "
            "update (--controller_samples)"
        )
    changes = {"epochs": config.standalone_epochs, "child_out_filters": config.filters}
    retrained = retrain_flags(flags_of(searched), config.device, changes, words_in("retrain", config.retrain))
    with run_context(searched, "search") as run:
        s = assemble(run)  # refuses what does not fit, before a folder is made
    genotype, blocks = s.sampler.sample(1, "limits")[0], s.data.deployment.spec.blocks
    settings = {
        "evaluations": config.evaluations,
        "candidates": config.candidates,
        "search": {"--epochs": searched.epochs, **stated(searched)},
        "trained alone": settings_of(retrained, genotype, blocks)[0],
    }
    return Comparison(config, searchers, searched, retrained, blocks, settings)


def work(c: Comparison, log: RunLog, make_pieces: Maker) -> None:
    """Search, train what was picked, and write what came out."""
    traces, seeds = search(c, log, make_pieces), c.config.seeds
    picks = {name: [pick(c, trace, 0) for trace in of_seeds] for name, of_seeds in traces.items()}
    # The median candidate stands for the space: what a search gains is more than this.
    # Candidates are sorted by score.
    picks[MEDIAN] = [pick(c, trace, len(trace["candidates"]) // 2) for trace in traces[RANDOM]]
    folder = log.folder / "standalone"
    trainings = {
        name: [Training(folder, c.retrained, g, c.blocks, seed) for g, seed in zip(genotypes, seeds, strict=True)]
        for name, genotypes in picks.items()
    }
    results = train_all(trainings, make_pieces)
    measure = TASKS[c.searched.task].measure
    write_comparison(log, judge(c.settings, seeds, measure, traces, results))


def search(c: Comparison, log: RunLog, make_pieces: Maker) -> dict[str, list[dict[str, Any]]]:
    """Train shared weights for every seed, then let every searcher search on them: its traces, one a seed."""
    config, epochs = c.config, c.searched.epochs
    words = [*config.rest, "--device", config.device]
    # One search a seed trains the weights that all searchers of that seed share.
    weights = partial(train_weights, words, epochs, log.folder)
    # All weights first: the pieces of searchers read the checkpoints of these.
    make_pieces([Piece(log.folder / "weights" / f"seed{seed}.json", partial(weights, seed)) for seed in config.seeds])
    updates = config.evaluations // c.searched.controller_samples
    changes = {"device": config.device, "warmup_epochs": epochs - 1}  # one epoch is left, for all updates
    of = (changes, updates, config.candidates)
    pieces = {
        searcher: [
            Piece(
                log.folder / "traces" / f"{searcher}-seed{seed}.json",
                partial(search_frozen, log.folder, seed, searcher, *of),
            )
            for seed in config.seeds
        ]
        for searcher in c.searchers
    }
    traces = make_rows(pieces, make_pieces)
    # A searcher that asks for fewer genotypes, or gives fewer candidates, could not be compared with the others.
    for searcher, row in traces.items():
        for trace in row:
            if (trace["asked"], trace["drawn"]) != (config.evaluations, config.candidates):
                raise WorkError(f"{searcher} asked for {trace['asked']} genotypes and drew {trace['drawn']}")
    return traces


def pick(c: Comparison, trace: Mapping[str, Any], place: int) -> Genotype:
    """One of the candidates of a searcher, by its place in the order of their scores."""
    cells = trace["candidates"][place]["cells"]
    return Genotype.from_lists(cells, c.searched.sharing, c.searched.space).canonical()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a comparison; see --help."""
    words = list(sys.argv[1:] if argv is None else argv)
    before = words[: words.index("--")] if "--" in words else words
    # --methods chooses another set of flags, so it is looked for before any parser is made.
    if any(word.partition("=")[0] == "--methods" for word in before):
        return methods.main(words)
    config = parse_study(CompareConfig, words, **COMPARE)
    return run_study("studies.compare", config, partial(prepare, config), work)


if __name__ == "__main__":
    sys.exit(main())
