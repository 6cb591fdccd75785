"""REINFORCE with a moving baseline (docs/method.md, section 4.2; Williams 1992, ENAS arXiv 1802.03268)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_optimizer import Ranger
from torch import Tensor

from controller.policy import Controller, Sample
from controller.sampling import Fits, draw_fitting
from ops.genotype import Genotype


class Reinforce:
    """Teach a controller by policy gradient: a :class:`controller.strategies.Strategy`.

    Reward = score (percent) + ``entropy_weight`` * entropy (nats). The baseline starts at the first reward
    and moves by ``1 - baseline_decay`` towards the mean reward before it is used. The loss is the mean over
    the genotypes that were asked for of -log_prob * (reward - baseline); the advantage carries no gradient.
    """

    def __init__(
        self,
        controller: Controller,
        lr: float = 3.5e-5,
        entropy_weight: float = 1e-4,
        *,
        baseline_decay: float = 0.95,
    ) -> None:
        self.controller = controller
        self.entropy_weight, self.baseline_decay = entropy_weight, baseline_decay
        self.baseline: float | None = None
        self._start = [parameter.detach().clone() for parameter in controller.parameters()]
        # RAdam + Lookahead; with these two switches it is the published Ranger to the last bit.
        self.optimizer = Ranger(
            controller.parameters(),
            lr=lr,
            betas=(0.95, 0.999),
            eps=1e-5,
            k=6,
            alpha=0.5,
            use_gc=False,
            degenerated_to_sgd=True,
        )
        self._asked: Sample | None = None

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Propose ``n`` genotypes whose scores ``tell`` will be told.

        Those that do not fit are drawn again; the log-probabilities stay those of the policy without constraints.
        """
        drawn: dict[Genotype, tuple[Tensor, Tensor]] = {}

        def draw(count: int) -> tuple[Genotype, ...]:
            sample = self.controller.sample(count, generator)
            drawn.update(zip(sample.genotypes, zip(sample.log_prob, sample.entropy, strict=True), strict=True))
            return sample.genotypes

        genotypes = draw_fitting(draw, n, fits)
        # each (n,), in the order of the genotypes
        log_prob, entropy = (torch.stack(column) for column in zip(*(drawn[g] for g in genotypes), strict=True))
        self._asked = Sample(genotypes, log_prob, entropy)
        return genotypes

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

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Take the scores of the genotypes that were asked for, in percent, and do one update. Returns what to log.

        Raises ValueError on a score that is not finite: such an update would spoil the policy for good.
        """
        if self._asked is None or len(scores) != len(self._asked.genotypes):
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        if not all(math.isfinite(score) for score in scores):
            raise ValueError(f"a reward is not finite: {list(scores)}")
        sample, self._asked = self._asked, None
        rewards = torch.tensor(scores, dtype=torch.float64) + self.entropy_weight * sample.entropy.cpu()  # (n,)
        reward = rewards.mean().item()
        if self.baseline is None:
            self.baseline = reward
        self.baseline -= (1 - self.baseline_decay) * (self.baseline - reward)
        advantage = (rewards - self.baseline).to(sample.log_prob)
        loss = policy_loss(sample.log_prob, advantage)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {
            "loss": loss.item(),
            "reward": reward,
            "baseline": self.baseline,
            "entropy": sample.entropy.mean().item(),
            "advantage": advantage.mean().item(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: policy, optimizer (Lookahead's slow weights too), baseline."""
        return {
            "controller": self.controller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]


def policy_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Average -log_prob * advantage over (n,); minimising it makes likelier what earned more than the baseline."""
    return -(log_prob * advantage.detach()).mean()
