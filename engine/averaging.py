"""An exponential moving average of a network's weights (as in Szegedy et al., arXiv 1512.00567)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from utils.system.checkpoint import load_weights


class WeightAverage:
    """Keep an exponential moving average of a network's weights (docs/method.md, section 5).

    ``network``: the average, ready to be evaluated once ``take_statistics`` gave it those of the original.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.source, self.decay, self.updates = network, decay, 0
        self.network = copy.deepcopy(network).requires_grad_(False)  # no gradients: nothing else moves it
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are after a step. The first steps count more, as in torchvision."""
        self.updates += 1
        # 2/11, 3/12, ..: with the full decay the random start would weigh for a thousand steps.
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average = self._average if decay == self.decay else get_ema_multi_avg_fn(decay)
        average(list(self.network.parameters()), list(self.source.parameters()), self.updates)

    @torch.no_grad()
    def take_statistics(self) -> None:
        """Copy the buffers, running statistics above all, which are averages already."""
        for mine, theirs in zip(self.network.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights and how many updates they are of."""
        return {"weights": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there. Raises CheckpointError."""
        load_weights(self.network, state["weights"], "the average of weights")
        self.updates = state["updates"]
