"""The work of the controller that is measured: drawing genotypes and learning from their scores."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.common import Row, measure
from benchmarks.workloads import Settings
from controller.policy import Controller, Squash
from controller.reinforce import Reinforce
from engine.search_recipes import SEARCH_RECIPES


def _controller(s: Settings) -> Controller:
    torch.manual_seed(0)
    return Controller(2).to(s.device)


def sampling(s: Settings, n: int) -> Row:
    """Times per genotype of drawing ``n`` in one pass."""
    controller, generator = _controller(s), torch.Generator().manual_seed(0)
    draw = torch.no_grad()(partial(controller.sample, n, generator))
    times = measure([draw], s.size(5, 1) * s.repeats, s.device, warmup=s.size(5, 1))
    return Row(f"sample_{n}", times, per=n)


def _learner(s: Settings, recipe: str) -> Reinforce:
    """The controller and how it learns, as ``--recipe`` has them."""
    torch.manual_seed(0)
    r = SEARCH_RECIPES[recipe]
    squash = Squash(r.connection_bound, r.operation_bound, r.controller_temperature)
    return Reinforce(
        Controller(2, squash=squash).to(s.device),
        r.controller_lr,
        r.entropy_weight,
        optimizer=r.controller_optimizer,
        advantage=r.advantage,
        entropy_in_loss=r.entropy_in_loss,
        updates=10_000,
        ppo_epochs=r.ppo_epochs,
    )


def update(s: Settings, *, n: int = 1, recipe: str = "published", alone: bool = False) -> Row:
    """One update with ``n`` genotypes: sampling them, backward, optimizer; ``alone``: without sampling.

    Times are per genotype.
    """
    strategy, generator = _learner(s, recipe), torch.Generator().manual_seed(0)
    times: list[float] = []
    warmup = s.size(5, 1)
    for i in range(warmup * (s.repeats + 1)):
        scores = [50.0 + (i + k) % 7 for k in range(n)]
        proposing = measure([lambda: strategy.ask(n, generator)], 1, s.device, warmup=0)
        learning = measure([lambda scores=scores: strategy.tell(scores)], 1, s.device, warmup=0)
        if i >= warmup:
            times.append(learning[0] + (0 if alone else proposing[0]))
    name = "learn" if alone else "update" if n == 1 else f"update_{n}_{recipe}"
    return Row(name, times, per=n)
