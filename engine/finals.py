"""Finals: the best candidates of a search are trained, and ranked by what they reach (docs/strategies.md, section 30).

In rounds of successive halving: all of them for a few epochs, the best third for three times as many, and so on. Each
training is a piece in the run folder, so that what is trained is never trained again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from engine.finite import NotFiniteError
from engine.open_search import OpenSearch, open_search
from engine.passes import Learner, evaluate, train_pass
from engine.pieces import Maker, Piece, key_of
from engine.run_state import RunState
from engine.setup import make_learner, make_run
from engine.tasks.base import likelihood
from models.folding import folded
from models.network import Network
from models.spec import final_spec
from models.structures import STRUCTURES
from ops.genotype import Genotype
from utils.config import SCRATCH, SHARED, FinalsConfig, SearchConfig
from utils.runs.position import Position
from utils.system import checkpoint
from utils.system.device import keep_freed_memory
from utils.system.processes import World
from utils.system.seeds import derived_seed
from utils.system.signals import stop_requests

FEWEST_STEPS = 250  # of a final, unless a flag says otherwise: fewer rank worse than scores without training
FACTOR = 3  # fewer finalists from round to round, each for so many times the epochs
# Shared weights are on their way already. By start, the share of --child_lr_max that a final begins with.
RATE = {SHARED: 0.5, SCRATCH: 1.0}


class Final(NamedTuple):
    """What a training gave: 100 exp(-loss) on the reward images, nan where it failed.

    ``images``: that it passed through its network, to train and to score; ``start``: of its weights.
    """

    score: float
    epochs: int
    round: int
    images: int
    start: str


Finals = Mapping[Genotype, Sequence[Final]]  # of each finalist one a round


def finals_first(finals: Finals, ranked: Sequence[Genotype]) -> list[Genotype]:
    """All of ``ranked``: finalists first, who came furthest before all, then the others as they stood."""

    def key(genotype: Genotype) -> tuple[int, float, int]:
        final = finals[genotype][-1]
        return -final.round, -final.score if math.isfinite(final.score) else math.inf, ranked.index(genotype)

    return sorted(finals, key=key) + [genotype for genotype in ranked if genotype not in finals]


def entrants(n: int, rounds: int | None) -> list[int]:
    """How many are trained in each round, from ``n`` down: a third of them, rounded up, until one would be left."""
    counts = [n]
    while (left := -(-counts[-1] // FACTOR)) > 1 and len(counts) != rounds:
        counts.append(left)
    return counts


def epochs_of_finals(config: FinalsConfig, steps: int) -> int:
    """The epochs of the first round, where an epoch has so many steps."""
    return config.final_epochs or max(2, -(-FEWEST_STEPS // steps))


def images_of_finals(config: FinalsConfig, steps: int, trained: int, scored: int) -> int:
    """What all finals pass through their networks, of so many steps and images an epoch, and images to score."""
    counts = entrants(config.finals, config.final_rounds) if config.finals else []
    epochs = epochs_of_finals(config, steps)
    return sum(n * (epochs * FACTOR**i * trained + scored) for i, n in enumerate(counts))


def run_finals(
    config: FinalsConfig,
    run: Path,
    order: Sequence[Genotype],
    make_pieces: Maker,
    *,
    steps: int,
    searched: int,
    folder: Path,
    device: torch.device | None,
) -> Finals:
    """Train the first ``config.finals`` of ``order``, then from round to round fewer: the best of the round before.

    ``run``: the folder of the search, whose checkpoint has the shared weights, of ``searched`` epochs; ``steps``: of an
    epoch of a final; ``folder``: of the pieces.
    """
    finals: dict[Genotype, list[Final]] = {}
    first = epochs_of_finals(config, steps)
    for number, count in enumerate(entrants(config.finals, config.final_rounds)):
        epochs, genotypes = first * FACTOR**number, finals_first(finals, order)[:count]
        start, pieces = config.finals_start, []
        for genotype in genotypes:
            # Of a search that goes on for more epochs the shared weights are others, and so are these finals.
            weights = start if start == SCRATCH else f"{start}{searched}"
            path = folder / f"{key_of(genotype)}-{weights}-{epochs}-{number}.json"
            pieces.append(Piece(path, partial(train_final, run, genotype, epochs, number, start, path, device)))
        for genotype, content in zip(genotypes, make_pieces(pieces), strict=True):
            score = math.nan if content["score"] is None else content["score"]
            final = Final(score, epochs, number, content["images"], content["start"])
            finals.setdefault(genotype, []).append(final)
    _opened.cache_clear()
    return finals


# One training


@lru_cache(maxsize=1)  # the trainings of a process one after another are of one search
def _opened(folder: Path, device: torch.device | None) -> OpenSearch:
    return open_search(folder, device, silent=True)


def train_final(
    folder: Path, genotype: Genotype, epochs: int, number: int, start: str, path: Path, device: torch.device | None
) -> dict[str, Any]:
    """Train a genotype on the images for shared weights, and score it on the reward images: the content of a piece.

    Beside the piece, at ``path``, a checkpoint is kept: after a kill the epoch in progress alone is repeated.
    """
    s = _opened(folder, device)
    config: SearchConfig = s.config
    spec = final_spec(s.data.spec, s.data.deployment.spec)
    if spec != s.data.spec or STRUCTURES[spec.space].shared_key is None or not s.epoch:
        start = SCRATCH  # the shared weights are of other networks, or there are none
    torch.manual_seed(derived_seed(config.seed, "final", number))  # the same for all of a round
    network = s.learner.model.inherit(genotype) if start == SHARED else Network.of(genotype, spec)
    keep_freed_memory(s.context.device)
    network.to(s.context.device)
    lr = RATE[start] * config.child_lr_max
    changes = {"epochs": epochs, "child_lr_max": lr, "child_lr_min": 0.0, "lr_schedule": "cosine", "sync_bn": False}
    context = replace(s.context, config=replace(config, **changes), earlier=None)
    learner = make_learner(context, network, nesterov=config.nesterov, warmup=0, by_step=True)
    run = make_run(context, learner, s.data.dataset, {})
    kept, loader = path.with_suffix(".pt"), s.data.weights
    if kept.is_file():
        state = checkpoint.load(kept)
        run.training.restore(state, kept, World())
        run.position = Position.of(state["position"])
    try:
        _train(run, learner, s, kept, number)
        loss, measure = _measured(s, learner, network)
    except NotFiniteError:
        loss, measure = math.nan, math.nan
    kept.unlink(missing_ok=True)
    images = epochs * loader.num_images * loader.views + s.data.rewards.num_images
    facts = {"loss": loss, s.task.measure: measure, "images": images, "start": start, "genotype": genotype.to_lists()}
    return {"score": likelihood(loss) if math.isfinite(loss) else None, **facts}


def _train(run: RunState, learner: Learner, s: OpenSearch, kept: Path, number: int) -> None:
    loader = s.data.weights
    with stop_requests(World()) as run.stop:
        for _epoch in run.epochs():
            run.position.begin("train")
            meter = s.task.meter(run.context.device, len(learner.model.aux_heads))
            arguments = [(0.0,)] * len(loader)  # no drop path
            train_pass(learner, loader, s.task, arguments=arguments, meter=meter, run=run, draws=f"final {number}")
            run.position.next_epoch()
            run.training.save(kept, run.position, {}, World())


def _measured(s: OpenSearch, learner: Learner, network: Network) -> tuple[float, float]:
    """Loss and measure on the reward images."""
    s.data.rewards.set_epoch(0)
    meter = s.task.meter(s.context.device, len(network.aux_heads))
    metrics = evaluate(folded(network), s.data.rewards, s.task, precision=learner.precision, meter=meter)
    return metrics["loss"], metrics[s.task.measure]
