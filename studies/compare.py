"""Which searcher finds better networks: all on the same shared weights, with equal evaluations and candidates.

    python -m studies.compare --save first --searchers rl,random,evolution --seeds 0,1,2,3,4 --standalone_epochs 12 \\
        -- --data digits --blocks "[1,1]" --child_out_filters 16 --epochs 20 --recipe tuned

For each seed the search script trains shared weights on uniform paths, every searcher searches on them while they do
not change, and what it picks is trained from scratch (docs/method.md, section 18). What stands behind ``--`` is for the
search script, and ``--retrain "FLAGS"`` for the retrainer. With ``--methods`` each method searches on shared weights of
its own: see studies/methods.py.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import train_search_cifar as script
from controller.strategies import STRATEGIES
from ops.genotype import Genotype, GenotypeError
from studies import methods
from studies.comparison import MEDIAN, RANDOM, judge, write_comparison
from studies.folder import study_folder
from studies.frozen import search_frozen, train_weights, weights_flags
from studies.options import ALONE, STUDY, StudyConfig, chosen, parse_study, require_one_process
from studies.pieces import Piece, make
from studies.standalone import OF_THE_STUDY, alone_flags, alone_pieces, require_own, settings_of
from utils.config import SearchConfig, parse_search
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.runs.seeds import OWN
from utils.runs.session import session
from utils.system import numbers
from utils.system.command import command
from utils.system.errors import UsageError, WorkError
from utils.system.processes import World
from utils.system.signals import StopRequest, stop_requests
from utils.system.terminal import show

# What the study says itself to the search script.
SAID = {*OF_THE_STUDY, "device", "searcher", "warmup_epochs", "controller_steps", "derive_samples", "top_k", "rank_by"}
SAID -= {"blocks", "sharing"}
COMPARE = {
    "prog": "python -m studies.compare",
    "about": "Compare searchers on the same shared weights, by what they pick trained from scratch. With --methods, "
    "compare whole methods, each in its own search: see --methods all --help.",
    "example": "python -m studies.compare --save first --standalone_epochs 12 -- --data digits --blocks '[1,1]' "
    "--child_out_filters 16 --epochs 20 --recipe tuned",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(StudyConfig):
    """What a comparison of searchers is told."""

    searchers: str = flag("rl,random,evolution", "names with commas; random is what others must win", STUDY)
    seeds: tuple[int, ...] = flag(
        (0, 1, 2, 3, 4), "of weights, searchers and trainings; more can be added later", STUDY, type=numbers.seeds,
        said="0,1,2,3,4",
    )  # fmt: skip
    evaluations: int = flag(480, "genotypes that each searcher may ask for", STUDY, type=numbers.positive_int)
    candidates: int = flag(100, "genotypes drawn from it at its end, and ranked", STUDY, type=numbers.positive_int)
    standalone_epochs: int = flag(12, "of each training", ALONE, type=numbers.positive_int)
    filters: int | None = flag(None, "of the networks", ALONE, type=numbers.filters, said="those of the search")
    retrain: str = flag("", "more flags for the retrainer, as one word", ALONE, metavar='"FLAGS"')


@dataclass(frozen=True)
class Comparison:
    """What is to be done: searchers by name, the flags of both scripts, and the settings that results depend on."""

    config: CompareConfig
    searchers: tuple[str, ...]
    searched: SearchConfig
    alone: tuple[str, ...]
    blocks: tuple[int, ...]
    settings: Mapping[str, Any]


def prepare(config: CompareConfig) -> Comparison:
    """Refuse what cannot be compared, before anything is made."""
    require_one_process()
    searchers = chosen("searchers", config.searchers, STRATEGIES)
    if RANDOM not in searchers:
        raise UsageError(f"--searchers {config.searchers}: the others are compared with {RANDOM}, which is missing")
    if len(config.seeds) < 2:
        raise UsageError(f"--seeds {config.seeds[0]}: a paired comparison needs 2 seeds or more")
    searched = parse_search([*config.rest, "--device", config.device])
    refused = parse_search(config.rest).given & SAID
    if refused:
        raise UsageError(f"--{min(refused)} cannot stand behind --: the study says it")
    if config.evaluations % searched.controller_samples:
        raise UsageError(
            f"--evaluations {config.evaluations} is no multiple of the {searched.controller_samples} genotypes of an "
            "update (--controller_samples)"
        )
    try:
        more = shlex.split(config.retrain)
    except ValueError as error:
        raise UsageError(f"--retrain {show(config.retrain)}: {error}") from None
    with session(searched, "search") as run:
        s = script.assemble(run)
    changes = {"epochs": config.standalone_epochs, "child_out_filters": config.filters}
    alone = alone_flags(flags_of(searched), config.device, changes, more)
    genotype, blocks = s.draws.sample(1, "limits")[0], s.deployment.spec.blocks
    defaults = searched.defaults()
    settings = {
        "evaluations": config.evaluations,
        "candidates": config.candidates,
        "search": {
            "--epochs": searched.epochs,
            **{f"--{k}": v for k, v in flags_of(searched).items() if k not in OWN and v != defaults[k]},
        },
        "trained alone": settings_of(alone, genotype, blocks)[0],
    }
    return Comparison(config, searchers, searched, alone, blocks, settings)


def search(c: Comparison, log: RunLog, stop: StopRequest) -> dict[str, list[dict[str, Any]]]:
    """Train shared weights for every seed, then let every searcher search on them: its traces, one a seed."""
    config, options = c.config, {"jobs": c.config.jobs, "stop": stop, "say": log.line}
    words = [*config.rest, *weights_flags(c.searched), "--device", config.device]
    weights = [
        Piece(log.folder / "weights" / f"seed{seed}.json", partial(train_weights, words, log.folder, seed))
        for seed in config.seeds
    ]
    make(weights, **options)
    updates = config.evaluations // c.searched.controller_samples
    changes = {"device": config.device, "warmup_epochs": c.searched.epochs - 1}  # one epoch is left, for all updates
    traces = [
        Piece(
            log.folder / "traces" / f"{searcher}-seed{seed}.json",
            partial(search_frozen, log.folder, seed, searcher, changes, updates, config.candidates),
        )
        for searcher in c.searchers
        for seed in config.seeds
    ]
    found = make(traces, **options)
    for piece, trace in zip(traces, found, strict=True):
        if (trace["asked"], trace["drawn"]) != (config.evaluations, config.candidates):
            raise WorkError(f"{piece.path.name} asked for {trace['asked']} genotypes and drew {trace['drawn']}")
    n = len(config.seeds)
    return {searcher: found[i * n : (i + 1) * n] for i, searcher in enumerate(c.searchers)}


def picks(c: Comparison, traces: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Genotype]]:
    """What is trained alone for each seed: the best candidate of a searcher by score, and the median one of random."""

    def chosen(trace: Mapping[str, Any], place: int) -> Genotype:
        cells = trace["candidates"][place]["cells"]
        return Genotype.from_lists(cells, c.searched.sharing, c.searched.space).canonical()

    found = {searcher: [chosen(trace, 0) for trace in own] for searcher, own in traces.items()}
    found[MEDIAN] = [chosen(trace, len(trace["candidates"]) // 2) for trace in traces[RANDOM]]
    return found


def train_alone(
    c: Comparison, picked: Mapping[str, Sequence[Genotype]], log: RunLog, stop: StopRequest
) -> dict[str, list[dict[str, Any]]]:
    """Train every pick from scratch, with the seed of its search: the results by name, a seed."""
    owners = [(name, g, seed) for name, own in picked.items() for g, seed in zip(own, c.config.seeds, strict=True)]
    pieces = [alone_pieces(log.folder, c.alone, [g], c.blocks, [seed])[0] for _, g, seed in owners]
    unique = list({piece.path: piece for piece in pieces}.values())  # searchers may agree
    results = make(unique, jobs=c.config.jobs, stop=stop, say=log.line)
    by_path = {piece.path: result for piece, result in zip(unique, results, strict=True)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in picked}
    for piece, (name, genotype, seed) in zip(pieces, owners, strict=True):
        require_own(piece, by_path[piece.path], genotype, seed)
        found[name].append(by_path[piece.path])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run a comparison; see --help. Exits with 2 for what is refused and 1 for a fault during the work."""
    words = list(sys.argv[1:] if argv is None else argv)
    own = words[: words.index("--")] if "--" in words else words
    if any(word.partition("=")[0] == "--methods" for word in own):
        return methods.main(words)
    config = parse_study(CompareConfig, words, **COMPARE)
    with command("studies.compare", GenotypeError, again="the same command") as state, stop_requests(World()) as stop:
        c = prepare(config)
        stop.check()
        with study_folder(config.result, config.save, c.settings) as log:
            state.started(log)
            traces = search(c, log, stop)
            results = train_alone(c, picks(c, traces), log, stop)
            measure = script.TASKS[c.searched.task].measure
            write_comparison(log, judge(c.settings, config.seeds, measure, traces, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
