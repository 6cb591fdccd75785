"""How a policy is moved: optimizers, advantages and losses, each by the name or the number that a flag takes.

docs/method.md, sections 4.2 and 9.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from pytorch_optimizer import Ranger
from torch import Tensor, nn

ENAS_EPS = 0.1  # of rewards in percent, as 1e-3 is of rewards in [0, 1]
CLIP = 0.2  # how far a second pass over the same genotypes may move a probability
SMALLEST_SPREAD = 1e-6  # of rewards; below it they count as equal


def _ranger(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    # RAdam + Lookahead; with these two switches it is the published Ranger to the last bit.
    return Ranger(
        parameters,
        lr=lr,
        betas=(0.95, 0.999),
        eps=1e-5,
        k=6,
        alpha=0.5,
        use_gc=False,
        degenerated_to_sgd=True,
    )


def _adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    # No momentum, as in ENAS: each gradient is of other genotypes. Fused: a third of the time.
    return torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.999), fused=True)


class _EnasAdam(torch.optim.Adam):
    """Adam without momentum as ENAS has it: TensorFlow's, which adds eps to the root before that is corrected."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        done = max((float(state["step"]) for state in self.state.values() if state), default=0.0)
        for group in self.param_groups:
            group["eps"] = ENAS_EPS / math.sqrt(1 - group["betas"][1] ** (done + 1))
        return super().step(closure)


def _enas_adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return _EnasAdam(parameters, lr=lr, betas=(0.0, 0.999), fused=True)


OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]] = {
    "ranger": _ranger,
    "adam": _adam,
    "enas_adam": _enas_adam,
}


def _over_baseline(rewards: Tensor, baseline: float) -> Tensor:
    return rewards - baseline


def _normalised(rewards: Tensor, _baseline: float) -> Tensor:
    return (rewards - rewards.mean()) / rewards.std(correction=0).clamp(min=SMALLEST_SPREAD)


# (rewards of an update, (n,), and the moving baseline) -> advantages, (n,)
ADVANTAGES: dict[str, Callable[[Tensor, float], Tensor]] = {"baseline": _over_baseline, "normalised": _normalised}


def policy_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Average -log_prob * advantage over (n,); minimising it makes likelier what earned more than the baseline."""
    return -(log_prob * advantage.detach()).mean()


def clipped_loss(log_prob: Tensor, drawn_with: Tensor, advantage: Tensor) -> Tensor:
    """The loss of PPO (arXiv 1707.06347, equation 7), for several passes over the same genotypes; all (n,).

    ``drawn_with``: the log-probabilities when they were drawn. A genotype stops counting once its probability has
    moved by CLIP in the direction of its advantage.
    """
    ratio, advantage = (log_prob - drawn_with.detach()).exp(), advantage.detach()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
