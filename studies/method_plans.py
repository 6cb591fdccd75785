"""What a comparison of methods runs: the methods by name, the flags of their searches, and how many epochs fit.

Equal budgets are so many seconds or images for each search (docs/studies.md, section 18.1).
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from controller.strategies import GRADIENT
from engine.configuration import parse_search
from studies.pieces import Maker, Piece
from studies.searches import OpenSearch, assemble, records_of, run_search
from studies.study import require_free, stated
from studies.trainings import RESERVED
from utils.config import CommonConfig, SearchConfig
from utils.runs.context import run_context
from utils.system.errors import UsageError

KINDS = ("seconds", "images")
MOST = 10**5  # epochs: more are a typing error
RESTARTS = 3  # of the learning rate, as in the published ENAS: after 10, 30 and 70 of 150 epochs
NAO_ROUNDS = 5  # of a search, as published: every 30 of 150 epochs
# Flags of the search script that the study sets itself.
FIXED = {*RESERVED, "device", "space", "searcher", "epochs", "layers", "deploy_blocks", "deploy_layers"}
FIXED |= {"deploy_filters", "deploy_image_size", "tensorboard", "report_freq"}


class Budget(NamedTuple):
    """What each search may take: so many ``seconds`` or ``images``."""

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}={self.amount:g}"


def budget(text: str) -> Budget:
    """A budget as it is typed. Raises ArgumentTypeError."""
    kind, _, number = text.partition("=")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if kind not in KINDS or not (0 < amount < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is no budget: give seconds=600 or images=2e6, for example")
    return Budget(kind, amount)


@dataclass(frozen=True)
class Cost:
    """What the epochs of a search take, in seconds or in images.

    ``warm``: an epoch of the warm-up, in which the strategy rests; ``full``: any other; ``fixed``: what comes once,
    however many epochs there are.
    """

    warm: float
    full: float
    fixed: float = 0.0

    def of(self, epochs: int, warmup: int) -> float:
        """What ``epochs`` take, of which the first ``warmup`` are a warm-up."""
        warmup = min(warmup, epochs)
        return self.fixed + warmup * self.warm + (epochs - warmup) * self.full


def epochs_within(amount: float, cost: Cost, warmup: Callable[[int], int]) -> int:
    """The most epochs that take no more than ``amount``, 0 where not one does. ``warmup``: that of so many epochs."""
    # The cost grows with the epochs, whatever the warm-up, so it can be bisected.
    return bisect_right(range(1, MOST), amount, key=lambda epochs: cost.of(epochs, warmup(epochs)))


def first_period(epochs: int, growth: int) -> int:
    """The epochs to the first restart, such that the last period ends with the last epoch.

    With as many restarts as that allows, up to the published three.
    """
    # Periods grow by a factor, so that n restarts divide the epochs in 1 + growth + ... + growth ** n parts.
    for restarts in range(RESTARTS, 0, -1):
        periods = sum(growth**i for i in range(restarts + 1))  # all epochs, in units of the first period
        if epochs % periods == 0:
            return epochs // periods
    return epochs


def restart_flags(config: CommonConfig) -> list[str]:
    """The flag that lets restarts of the learning rate end with the last epoch, unless that was given."""
    if config.lr_schedule != "cosine_restarts" or "child_lr_T_0" in config.given:
        return []
    return ["--child_lr_T_0", str(first_period(config.epochs, config.child_lr_T_mul))]


@dataclass(frozen=True)
class Method:
    """A way to search: flags of the search script, and the space, None where it is to be chosen."""

    words: tuple[str, ...]
    space: str | None = None


METHODS = {
    "slnas": Method(("--searcher", "rl", "--recipe", "tuned"), "slnas"),
    "enas": Method(("--searcher", "rl", "--recipe", "enas"), "enas"),
    "darts": Method(("--searcher", "darts", "--recipe", "darts"), "darts"),
    "nao": Method(("--searcher", "nao", "--recipe", "nao"), "enas"),
    # It learns nothing from scores, so its shared weights get all of the budget.
    "random": Method(("--searcher", "random", "--recipe", "tuned", "--controller_steps", "0")),
    "evolution": Method(("--searcher", "evolution", "--recipe", "tuned")),
}


@dataclass(frozen=True)
class Plan:
    """The search of a method: its flags, but for epochs and what follows from them, and how many epochs there are."""

    name: str
    space: str
    words: tuple[str, ...]
    searched: SearchConfig
    epochs: int = 0

    @property
    def spreads_rounds(self) -> bool:
        """Whether this is NAO, and no flag says how often it scores its pool."""
        return self.name == "nao" and "controller_steps" not in self.searched.given

    def settings(self) -> dict[str, Any]:
        """The flags that results depend on, but for those that follow from the budget."""
        follows = {"epochs", "child_lr_T_0", "warmup_epochs"}
        follows |= {"controller_steps", "controller_samples"} if self.spreads_rounds else set()
        return stated(self.searched, without=follows - self.searched.given)

    def adapted(self, epochs: int) -> list[str]:
        """The flags for a search of so many epochs: restarts and rounds are spread over them as published."""
        c = self.searched
        words = [*self.words, "--epochs", str(epochs), *restart_flags(replace(c, epochs=epochs))]
        if self.spreads_rounds:
            scored = max(1, NAO_ROUNDS * c.nao_pool // epochs)  # genotypes an epoch
            steps = math.ceil(scored / c.controller_samples)
            # About as many, in steps of one size.
            words += ["--controller_steps", str(steps), "--controller_samples", str(scored // steps)]
        return words

    def warmup(self, epochs: int) -> int:
        """The epochs of the warm-up of a search of so many."""
        return parse_search(self.adapted(epochs)).warmup_epochs

    def within(self, budget: Budget, cost: Cost) -> Plan:
        """The same with as many epochs as fit. Raises UsageError where not one does."""
        epochs = epochs_within(budget.amount, cost, self.warmup)
        if not epochs:
            raise UsageError(
                f"--budget {budget} is too small for one epoch of {self.name}, which takes "
                f"{math.ceil(cost.of(1, self.warmup(1)))} {budget.kind}"
            )
        return replace(self, epochs=epochs)


def make_plan(
    name: str, space: str, size: Sequence[str], rest: Sequence[str], further: Sequence[str], budget: Budget
) -> Plan:
    """The plan of a method's search, whose epochs are known for a budget of images. Refuses what cannot be.

    ``size``: flags of the supernet and of the device; ``rest``: of all searches, ``further``: of this one.
    """
    require_free(parse_search(rest).given, FIXED)
    require_free(parse_search(further).given, FIXED, f"--{name}")
    words = (*METHODS[name].words, "--space", space, *size, *rest, *further)
    plan = Plan(name, space, words, parse_search(words))
    # Two epochs stand for any number: data, networks and limits are the same.
    with run_context(parse_search(plan.adapted(2)), "search") as run:
        s = assemble(run)
        s.sampler.sample(1, "limits")
    return plan.within(budget, images_of(s, plan)) if budget.kind == "images" else plan


def images_of(s: OpenSearch, plan: Plan) -> Cost:
    """How many images the epochs of a search pass through the shared weights at most."""
    c = plan.searched
    # Of the largest batches; a task without labels shows several views of every image.
    weights, rewards, valid = (
        loader.views * max(loader.sizes) for loader in (s.data.weights, s.data.rewards, s.data.valid)
    )
    every = s.data.weights.views * s.data.weights.num_images + c.valid_steps * valid  # trained on, and for the report
    if c.searcher in GRADIENT:  # before every step on the weights one on the architecture
        further = 3 * weights if c.order == 2 else 0
        return Cost(every, every + len(s.data.weights) * (rewards + further))
    if plan.spreads_rounds:
        return Cost(every, every, NAO_ROUNDS * c.nao_pool * c.reward_batches * rewards)
    return Cost(every, every + c.controller_steps * c.controller_samples * c.reward_batches * rewards)


# A budget of seconds, for which the first epochs are timed


def fitting_epochs(plans: Sequence[Plan], budget: Budget, folder: Path, make_pieces: Maker) -> tuple[Plan, ...]:
    """The plans with as many epochs as fit into seconds, which are those that their first epochs take."""
    pieces = [Piece(folder / f"{p.name}.json", partial(time_search, timed_words(p), folder, p.name)) for p in plans]
    times = make_pieces(pieces)
    return tuple(plan.within(budget, seconds_of(plan, time)) for plan, time in zip(plans, times, strict=True))


def timed_words(plan: Plan) -> list[str]:
    """The flags of a search of two epochs, the second of which has all phases; of NAO each scores the whole pool."""
    # --seed 0: these runs are for their times alone, whatever the seeds of the study.
    c, words = plan.searched, [*plan.adapted(2), "--derive_samples", "1", "--top_k", "1", "--seed", "0"]
    if plan.spreads_rounds:
        steps = math.ceil(c.nao_pool / c.controller_samples)
        words += ["--controller_steps", str(steps), "--controller_samples", str(c.controller_samples)]
    return words


def time_search(words: Sequence[str], folder: Path, method: str) -> dict[str, float]:
    """The seconds of a search's first two epochs and those of its strategy in each. This is the work of a piece."""
    epochs = zip(("first", "second"), records_of(run_search(words, folder, method)), strict=True)
    times = {"epoch": "s", "strategy": "strategy_s"}
    return {f"{which}_{key}": r.get(f"time/{part}_s", 0.0) for which, r in epochs for part, key in times.items()}


def seconds_of(plan: Plan, times: dict[str, float]) -> Cost:
    """What the epochs of a search take, from :func:`time_search`."""
    if plan.spreads_rounds:
        # The strategy scores the pool in the first epoch, and in the second fits its network before that.
        epoch = times["second_s"] - times["second_strategy_s"]
        scoring, with_fit = times["first_strategy_s"], times["second_strategy_s"]
        return Cost(epoch, epoch, scoring + (NAO_ROUNDS - 1) * with_fit)
    # Where there is a warm-up, the first of the two epochs was one.
    return Cost(times["first_s"] if plan.warmup(2) else times["second_s"], times["second_s"])
