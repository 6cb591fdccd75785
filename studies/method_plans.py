"""What a comparison of methods runs: the methods by name, the flags of their searches, and how many epochs fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import train_search_cifar as script
from controller.strategies import GRADIENT
from studies.budgets import Budget, Cost, epochs_within, first_period
from studies.method_runs import time_search
from studies.pieces import Piece, make
from studies.standalone import OF_THE_STUDY
from utils.config import CommonConfig, SearchConfig, parse_search
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.runs.seeds import OWN
from utils.runs.session import session
from utils.system.errors import UsageError
from utils.system.signals import StopRequest

NAO_ROUNDS = 5  # of a search, as published: every 30 of 150 epochs
# What the study says itself to the search script.
SAID = {*OF_THE_STUDY, "device", "space", "searcher", "epochs", "layers", "deploy_blocks", "deploy_layers"}
SAID |= {"deploy_filters", "deploy_image_size", "tensorboard", "report_freq"}


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

    def settings(self) -> dict[str, Any]:
        """The flags that results depend on, but for what follows from the budget."""
        defaults, flags, follows = self.searched.defaults(), flags_of(self.searched), {"epochs", "child_lr_T_0"}
        follows |= {"warmup_epochs"} | ({"controller_steps", "controller_samples"} if self.spreads_rounds else set())
        follows -= self.searched.given
        return {f"--{k}": v for k, v in flags.items() if k not in OWN | follows and v != defaults[k]}

    def adapted(self, epochs: int) -> list[str]:
        """The flags for a search of so many epochs: restarts and rounds are spread over them as published."""
        c = self.searched
        words = [*self.words, "--epochs", str(epochs), *restart_flags(replace(c, epochs=epochs))]
        if self.spreads_rounds:
            scored = max(1, NAO_ROUNDS * c.nao_pool // epochs)  # genotypes an epoch
            steps = math.ceil(scored / c.controller_samples)
            words += ["--controller_steps", str(steps), "--controller_samples", str(scored // steps)]
        return words

    @property
    def spreads_rounds(self) -> bool:
        """Whether this is NAO, and nothing else is said of how often it scores its pool."""
        return self.name == "nao" and "controller_steps" not in self.searched.given

    def whole(self) -> tuple[str, ...]:
        """The flags of the search as it fits into the budget."""
        return tuple(self.adapted(self.epochs))

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


def search_words(
    name: str, space: str, depth: Sequence[int], filters: int, rest: Sequence[str], device: str
) -> list[str]:
    """The flags of a method's search, but for its own ones. Raises UsageError for those that the study says."""
    stacked = space != "slnas"
    layers = ["--layers", str(depth[0]), "--deploy_layers", str(depth[0])]
    size = layers if stacked else ["--blocks", json.dumps(list(depth))]
    width = ["--child_out_filters", str(filters)]
    return [*METHODS[name].words, "--space", space, *size, *width, *allowed(rest, "--"), "--device", device]


def make_plan(name: str, space: str, words: Sequence[str], budget: Budget) -> Plan:
    """The plan of a method's search, whose epochs are known for a budget of images. Refuses what cannot be."""
    plan = Plan(name, space, tuple(words), parse_search(words))
    with session(parse_search(plan.adapted(2)), "search") as run:
        s = script.assemble(run)
        s.draws.sample(1, "limits")
    if budget.kind == "images":
        return plan.within(budget, images_of(s, plan))
    return plan


def images_of(s: script.Search, plan: Plan) -> Cost:
    """How many images the epochs of a search pass through the shared weights at most."""
    c = plan.searched
    # Of the largest batches; a task without labels shows several views of every image.
    weights, rewards, valid = (loader.views * max(loader.sizes) for loader in (s.weights, s.rewards, s.valid))
    trained = s.weights.views * s.weights.num_images
    report = c.valid_steps * valid
    if c.searcher in GRADIENT:  # before every step on the weights one on the architecture
        further = 3 * weights if c.order == 2 else 0
        return Cost(trained + report, trained + report + len(s.weights) * (rewards + further))
    update = c.controller_samples * c.reward_batches * rewards
    if plan.spreads_rounds:
        scoring = NAO_ROUNDS * c.nao_pool * c.reward_batches * rewards
        return Cost(trained + report, trained + report, scoring)
    return Cost(trained + report, trained + report + c.controller_steps * update)


def fitting_epochs(
    plans: Sequence[Plan], budget: Budget, log: RunLog, stop: StopRequest, jobs: int
) -> tuple[Plan, ...]:
    """The plans with as many epochs as fit into seconds, which are those that their first epochs take."""
    folder = log.folder / "timing"
    pieces = [
        Piece(folder / f"{plan.name}.json", partial(time_search, timed_words(plan), folder, plan.name))
        for plan in plans
    ]
    found = make(pieces, jobs=jobs, stop=stop, say=log.line)
    return tuple(plan.within(budget, seconds_of(plan, one)) for plan, one in zip(plans, found, strict=True))


def timed_words(plan: Plan) -> list[str]:
    """The flags of a search of two epochs, the second of which has all phases; of NAO each scores the whole pool."""
    words = plan.adapted(2)
    if plan.spreads_rounds:
        c = plan.searched
        words += ["--controller_steps", str(math.ceil(c.nao_pool / c.controller_samples))]
        words += ["--controller_samples", str(c.controller_samples)]
    return words


def seconds_of(plan: Plan, found: dict[str, float]) -> Cost:
    """What the epochs of a search take, from :func:`studies.method_runs.time_search`."""
    if plan.spreads_rounds:
        # The strategy scores the pool in the first epoch, and in the second fits its network before that.
        epoch = found["second_s"] - found["second_strategy_s"]
        scoring, with_fit = found["first_strategy_s"], found["second_strategy_s"]
        return Cost(epoch, epoch, scoring + (NAO_ROUNDS - 1) * with_fit)
    warm = found["first_s"] if plan.warmup(2) else found["second_s"]
    return Cost(warm, found["second_s"])


def restart_flags(config: CommonConfig) -> list[str]:
    """The flag that lets restarts of the learning rate end with the last epoch, unless that was given."""
    if config.lr_schedule != "cosine_restarts" or "child_lr_T_0" in config.given:
        return []
    return ["--child_lr_T_0", str(first_period(config.epochs, config.child_lr_T_mul))]


def allowed(words: Sequence[str], where: str) -> list[str]:
    """The words, unless the study says one of them itself: then UsageError."""
    refused = parse_search(words).given & SAID
    if refused:
        raise UsageError(f"--{min(refused)} cannot stand behind {where}: the study says it")
    return list(words)
