"""What a comparison runs: the methods by name, the flags of their searches, and how many epochs fit into a budget.

A budget is so many images that pass through any network of each search (docs/studies.md, section 18).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.strategies import GRADIENT
from engine.configuration import parse_search
from engine.finals import images_of_finals
from engine.open_search import OpenSearch, assemble
from engine.ranking import images_of_ranking
from studies.study import require_free, stated
from studies.trainings import RESERVED
from utils.config import CommonConfig, SearchConfig
from utils.runs.context import run_context
from utils.system.errors import UsageError

MOST = 10**5  # epochs: more are a typing error
RESTARTS = 3  # of the learning rate, as in the published ENAS: after 10, 30 and 70 of 150 epochs
NAO_ROUNDS = 5  # of a search, as published: every 30 of 150 epochs
# Flags of the search script that the study sets itself.
FIXED = {*RESERVED, "device", "space", "searcher", "epochs", "layers", "deploy_blocks", "deploy_layers"}
FIXED |= {"deploy_filters", "deploy_image_size", "tensorboard", "report_freq"}


@dataclass(frozen=True)
class EpochImages:
    """How many images a search passes through its networks at most.

    ``warm``: an epoch of the warm-up, in which the strategy rests; ``full``: any other; ``fixed``: what comes once,
    however many epochs there are, such as ranking and finals.
    """

    warm: int
    full: int
    fixed: int = 0

    def of(self, epochs: int, warmup: int) -> int:
        """The images of ``epochs``, of which the first ``warmup`` are a warm-up."""
        warmup = min(warmup, epochs)
        return self.fixed + warmup * self.warm + (epochs - warmup) * self.full


def epochs_within(budget: float, images: EpochImages, warmup: Callable[[int], int]) -> int:
    """The most epochs that take no more images than ``budget``, 0 where not one does. ``warmup``: of so many epochs."""
    # Images grow with the epochs, whatever the warm-up, so they can be bisected.
    return bisect_right(range(1, MOST), budget, key=lambda epochs: images.of(epochs, warmup(epochs)))


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
    # The same when shared weights alone rank, without any finals.
    "shared": Method(("--searcher", "rl", "--recipe", "tuned", "--rank_by", "shared", "--finals", "0")),
    # No shared weights: all of the budget for finals, of the candidates that are best without training; or nothing.
    "halving": Method(("--recipe", "halving")),
    "zero_cost": Method(("--recipe", "halving", "--finals", "0")),
    "enas": Method(("--searcher", "rl", "--recipe", "enas"), "enas"),
    "darts": Method(("--searcher", "darts", "--recipe", "darts"), "darts"),
    "nao": Method(("--searcher", "nao", "--recipe", "nao"), "enas"),
    # It learns nothing from scores, so its shared weights get all of the budget.
    "random": Method(("--searcher", "random", "--recipe", "tuned", "--controller_steps", "0")),
    "evolution": Method(("--searcher", "evolution", "--recipe", "tuned")),
    "regularized_evolution": Method(("--searcher", "regularized_evolution", "--recipe", "tuned")),
    "predictor": Method(("--searcher", "predictor", "--recipe", "tuned")),
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

    @property
    def trains_finals_alone(self) -> bool:
        """Whether all of the budget is for finals."""
        return not self.searched.epochs and "finals" not in self.searched.given

    def settings(self) -> dict[str, Any]:
        """The flags that results depend on, but for those that follow from the budget."""
        follows = {"epochs", "child_lr_T_0", "warmup_epochs", *(["finals"] if self.trains_finals_alone else [])}
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

    def within(self, budget: float, images: EpochImages) -> Plan:
        """The same with as many epochs as fit, none without a supernet. Raises UsageError where not one does."""
        if not self.searched.epochs:
            return self
        epochs = epochs_within(budget, images, self.warmup)
        if not epochs:
            raise UsageError(
                f"--budget {budget:g} is too small for one epoch of {self.name}, which takes "
                f"{images.of(1, self.warmup(1))} images"
            )
        return replace(self, epochs=epochs)


def make_plan(
    name: str, space: str, size: Sequence[str], rest: Sequence[str], further: Sequence[str], budget: float
) -> Plan:
    """The plan of a method's search, with as many epochs as a budget of images holds. Refuses what cannot be.

    ``size``: flags of the supernet and of the device; ``rest``: of all searches, ``further``: of this one.
    """
    require_free(parse_search(rest).given, FIXED)
    require_free(parse_search(further).given, FIXED, f"--{name}")
    words = (*METHODS[name].words, "--space", space, *size, *rest, *further)
    plan = Plan(name, space, words, parse_search(words))
    # Two epochs stand for any number but none: data, networks and limits are the same.
    with run_context(parse_search(plan.adapted(min(2, plan.searched.epochs))), "search") as run:
        s = assemble(run)
        s.sampler.sample(1, "limits")
    if plan.trains_finals_alone:
        finals = finals_within(budget, s, plan)
        plan = replace(plan, words=(*plan.words, "--finals", str(finals)))
    return plan.within(budget, images_of(s, plan))


def finals_within(budget: float, s: OpenSearch, plan: Plan) -> int:
    """The most finals that a budget holds. Raises UsageError where it holds no two."""

    def images(finals: int) -> int:
        return images_at_the_end(s, replace(plan.searched, finals=finals))

    n = bisect_right(range(2, plan.searched.derive_samples + 1), budget, key=images) + 1
    if n < 2:
        raise UsageError(
            f"--budget {budget:g} is too small for two finals of {plan.name}, which take {images(2)} images"
        )
    return n


def images_at_the_end(s: OpenSearch, c: SearchConfig) -> int:
    """How many images the ranking of the candidates and the finals pass through networks."""
    weights = s.data.weights
    finals = images_of_finals(c, len(weights), weights.views * weights.num_images, s.data.rewards.num_images)
    return c.derive_samples * images_of_ranking(c.rank_by, s.data.rewards) + finals


def images_of(s: OpenSearch, plan: Plan) -> EpochImages:
    """How many images a search passes through its networks at most."""
    c = plan.searched
    once = images_at_the_end(s, c)
    # Of the largest batches; a task without labels shows several views of every image.
    weights, rewards, valid = (
        loader.views * max(loader.sizes) for loader in (s.data.weights, s.data.rewards, s.data.valid)
    )
    every = s.data.weights.views * s.data.weights.num_images + c.valid_steps * valid  # trained on, and for the report
    if c.searcher in GRADIENT:  # before every step on the weights one on the architecture
        further = 3 * weights if c.order == 2 else 0
        return EpochImages(every, every + len(s.data.weights) * (rewards + further), once)
    if plan.spreads_rounds:
        return EpochImages(every, every, once + NAO_ROUNDS * c.nao_pool * c.reward_batches * rewards)
    scored = c.controller_steps * c.controller_samples * c.reward_batches * rewards
    return EpochImages(every, every + scored, once)
