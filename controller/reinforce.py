"""REINFORCE with a moving baseline (Williams 1992; ENAS, arXiv 1802.03268).

docs/method.md, section 4.2; docs/strategies.md, section 9.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from controller.policy import Judged, Policy
from controller.sampling import Fits, draw_fitting
from ops.genotype import Genotype

ENAS_EPS = 0.1  # of rewards in percent, as 1e-3 is of rewards in [0, 1]
SMALLEST_SPREAD = 1e-6  # of rewards; below it they count as equal


class _EnasAdam(torch.optim.Adam):
    """Adam without momentum as ENAS has it: TensorFlow's, which adds eps to the root before that is corrected."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        done = max((float(state["step"]) for state in self.state.values() if state), default=0.0)
        for group in self.param_groups:
            group["eps"] = ENAS_EPS / math.sqrt(1 - group["betas"][1] ** (done + 1))
        return super().step(closure)


def _ranger(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """RAdam + Lookahead; with the last two switches it is the published Ranger to the last bit."""
    from pytorch_optimizer import Ranger  # which takes half a second to import

    options = {"k": 6, "alpha": 0.5, "use_gc": False, "degenerated_to_sgd": True}
    return Ranger(parameters, lr, betas=(0.95, 0.999), eps=1e-5, **options)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "ranger": _ranger,
    # No momentum, as in ENAS: each gradient is of other genotypes. Fused: a third of the time.
    "adam": partial(torch.optim.Adam, betas=(0.0, 0.999), fused=True),
    "enas_adam": partial(_EnasAdam, betas=(0.0, 0.999), fused=True),
}


def _normalised(rewards: Tensor, _baseline: float) -> Tensor:
    return (rewards - rewards.mean()) / rewards.std(correction=0).clamp(min=SMALLEST_SPREAD)


# (rewards of an update, (n,), and the moving baseline) -> advantages, (n,)
ADVANTAGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "baseline": lambda rewards, baseline: rewards - baseline,
    "normalised": _normalised,
}


def policy_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Average -log_prob * advantage over (n,); minimising it makes likelier what earned more than the baseline."""
    return -(log_prob * advantage.detach()).mean()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: several would wait for each other at products this small (benchmarks/README.md)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Reinforce:
    """Teach a controller by policy gradient: a :class:`controller.strategies.Strategy`.

    Reward = score (percent) + ``entropy_weight`` * entropy (nats). The baseline starts at the first reward
    and moves by ``1 - baseline_decay`` towards the mean reward before it is used. The loss is the mean over
    the genotypes that were asked for of -log_prob * advantage, which carries no gradient.

    ``optimizer`` and ``advantage``: names in the tables above. ``entropy_in_loss``: what the mean entropy is multiplied
    by in the loss at first; it falls linearly to 0 over ``updates``.
    """

    def __init__(
        self,
        controller: Policy,
        lr: float = 3.5e-5,
        entropy_weight: float = 1e-4,
        *,
        baseline_decay: float = 0.95,
        optimizer: str = "ranger",
        advantage: str = "baseline",
        entropy_in_loss: float = 0.0,
        updates: int = 0,
    ) -> None:
        self.controller = controller
        self.entropy_weight, self.baseline_decay = entropy_weight, baseline_decay
        self.advantage = ADVANTAGES[advantage]
        self.entropy_in_loss, self.updates = entropy_in_loss, updates
        self.baseline: float | None = None
        self.told = 0  # updates so far
        self._start = [parameter.detach().clone() for parameter in controller.parameters()]
        self.optimizer = OPTIMIZERS[optimizer](controller.parameters(), lr)
        self._asked: tuple[tuple[Genotype, ...], Judged] | None = None

    @one_thread()
    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Propose ``n`` genotypes whose scores ``tell`` will be told.

        Those that do not fit are drawn again; the log-probabilities stay those of the policy without constraints.
        """
        drawn: dict[Genotype, Sequence[Tensor]] = {}

        def draw(count: int) -> tuple[Genotype, ...]:
            candidates, judged = self.controller.draw(count, generator)
            drawn.update(zip(candidates, zip(*judged, strict=True), strict=True))
            return candidates

        genotypes = draw_fitting(draw, n, fits)
        # each (n,), in the order of the genotypes
        judged = Judged(*(torch.stack(column) for column in zip(*(drawn[g] for g in genotypes), strict=True)))
        self._asked = genotypes, judged
        return genotypes

    @one_thread()
    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Draw ``n`` genotypes to train shared weights on or to rank: nothing is learned from them."""
        return draw_fitting(lambda count: self.controller.sample(count, generator).genotypes, n, fits)

    def argmax(self) -> Genotype:
        """The genotype that the policy finds likeliest, choice by choice."""
        return self.controller.argmax()

    def has_moved(self) -> bool:
        """Whether any weight of the controller differs from what it started with."""
        parameters = zip(self.controller.parameters(), self._start, strict=True)
        return any(not torch.equal(now, start) for now, start in parameters)

    @one_thread()
    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the genotypes that were asked for, in percent, and do one update. Returns what to log.

        Raises ValueError on a score that is not finite: such an update would spoil the policy for good.
        """
        if self._asked is None or len(scores) != len(self._asked[0]):
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        if not all(math.isfinite(score) for score in scores):
            raise ValueError(f"a reward is not finite: {list(scores)}")
        (_, judged), self._asked = self._asked, None
        entropy = judged.entropy.detach()
        rewards = torch.tensor(scores, dtype=torch.float64) + self.entropy_weight * entropy.cpu()  # (n,)
        reward = rewards.mean().item()
        if self.baseline is None:
            self.baseline = reward
        self.baseline -= (1 - self.baseline_decay) * (self.baseline - reward)
        advantage = self.advantage(rewards, self.baseline).to(judged.log_prob)
        loss = policy_loss(judged.log_prob, advantage)
        weight = self.entropy_in_loss * max(0.0, 1 - self.told / max(self.updates, 1))
        if weight:
            loss = loss - weight * judged.entropy.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.told += 1
        return {
            "loss": loss.item(),
            "reward": reward,
            "baseline": self.baseline,
            "entropy": entropy.mean().item(),
            "advantage": advantage.mean().item(),
            "favoured": judged.favoured.mean().item(),
            "kl_from_uniform": self.controller.kl_from_uniform(entropy.mean().item()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: policy, optimizer (Lookahead's slow weights too), baseline, number of updates."""
        return {
            "controller": self.controller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
            "told": self.told,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]
        self.told = state.get("told", 0)  # files before the weight of entropy fell hold none
