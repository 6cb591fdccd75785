"""Finals: the best candidates of a search are trained, and ranked by what they reach (docs/strategies.md, section 30).

In rounds of successive halving: all of them for a few epochs, the best third for three times as many, and so on. Each
training is a piece in the run folder, so that what is trained is never trained again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from controller.positions import CellPositions
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
Chooser = Callable[[int, int, Finals], Sequence[Genotype]]  # of a round, so many of them, after the finals so far


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
    choose: Chooser,
    make_pieces: Maker,
    *,
    steps: int,
    searched: int,
    folder: Path,
    device: torch.device | None,
) -> Finals:
    """Train ``config.finals`` candidates, and fewer from round to round; ``choose`` says which.

    ``run``: the folder of the search, whose checkpoint has the shared weights, of ``searched`` epochs; ``steps``: of an
    epoch of a final; ``folder``: of the pieces.
    """
    finals: dict[Genotype, list[Final]] = {}
    first = epochs_of_finals(config, steps)
    for number, count in enumerate(entrants(config.finals, config.final_rounds)):
        epochs, genotypes = first * FACTOR**number, choose(number, count, finals)
        # A few epochs rank better from shared weights, many from scratch (docs/results.md).
        start = config.finals_start if config.finals_start != "mixed" else SHARED if number == 0 else SCRATCH
        pieces = []
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


# Who goes on


def by_rank(order: Sequence[Genotype]) -> Chooser:
    """The first of ``order``, and from the second round on the best of the round before."""

    def choose(number: int, n: int, finals: Finals) -> Sequence[Genotype]:
        return (finals_first(finals, order) if number else order)[:n]

    return choose


def by_predictor(order: Sequence[Genotype], facts: Mapping[Genotype, Sequence[float]]) -> Chooser:
    """The first of ``order``; then those that a model of all finals so far finds best, among all of them.

    A Gaussian process on the integers of a genotype, one-hot, and its ``facts``: costs and scores of any scale.
    """

    def choose(number: int, n: int, finals: Finals) -> Sequence[Genotype]:
        if not number:
            return order[:n]
        from scipy.stats import norm
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF
        from sklearn.preprocessing import StandardScaler

        of = order[0]
        rows = CellPositions(len(of.cells), of.sharing, of.space).one_hot(order)  # (candidates, options)
        rows /= math.sqrt(len(of.cells) * len(of.cells[0]))
        numbers = torch.tensor([facts[genotype] for genotype in order], dtype=torch.float64).nan_to_num()
        numbers = torch.from_numpy(StandardScaler().fit_transform(numbers)) / math.sqrt(numbers.shape[1])
        features = torch.cat([rows, numbers], dim=1).numpy()  # both parts of about the same length
        best_first = finals_first(finals, order)[: len(finals)]
        worth = norm.isf([(place + 0.5) / len(finals) for place in range(len(finals))])  # normal, by rank
        model = GaussianProcessRegressor(RBF(1.0), alpha=0.1, optimizer=None)
        model.fit(features[[order.index(genotype) for genotype in best_first]], worth)
        mean = model.predict(features)
        return [order[i] for i in sorted(range(len(order)), key=lambda i: -mean[i])[:n]]

    return choose


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
        _train(run, learner, s, epochs, kept, number)
        loss, measure = _measured(s, learner, network)
    except NotFiniteError:
        loss, measure = math.nan, math.nan
    kept.unlink(missing_ok=True)
    images = epochs * loader.num_images * loader.views + s.data.rewards.num_images
    facts = {"loss": loss, s.task.measure: measure, "images": images, "start": start, "genotype": genotype.to_lists()}
    return {"score": likelihood(loss) if math.isfinite(loss) else None, **facts}


def _train(run: RunState, learner: Learner, s: OpenSearch, epochs: int, kept: Path, number: int) -> None:
    loader = s.data.weights
    with stop_requests(World()) as run.stop:
        for _epoch in run.epochs(epochs):
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
