"""The mean of the weights at the ends of the last epochs (stochastic weight averaging, arXiv 1803.05407)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from utils.system.checkpoint import fitted


class LastWeights:
    """Keep the weights of the last ``keep`` epochs, of which the model borrows the mean (docs/method.md, section 4.4).

    The weights are kept one by one: a run that goes on for more epochs drops the oldest.
    """

    def __init__(self, model: nn.Module, keep: int) -> None:
        self.model = model
        self.kept: deque[dict[str, Tensor]] = deque(maxlen=keep)

    def take(self) -> None:
        """Keep the weights as they are now."""
        self.kept.append(self._own())

    def _own(self) -> dict[str, Tensor]:
        """A copy of the model's weights."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model have the mean within the body, and its own weights again afterwards."""
        if len(self.kept) < 2:
            yield
            return
        own = self._own()
        self.model.load_state_dict(self.mean())
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def mean(self) -> dict[str, Tensor]:
        """Means of what is a fraction; of counts, such as the batches that a norm has seen, the last."""
        last = self.kept[-1]
        return {
            name: torch.stack([kept[name] for kept in self.kept]).mean(0) if value.is_floating_point() else value
            for name, value in last.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The weights of each epoch."""
        return {"kept": list(self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there. Raises CheckpointError for weights that do not fit."""
        own = self.model.state_dict()
        for weights in state["kept"]:
            checked = fitted(self.model, weights, "the weights of the last epochs")
            self.kept.append({name: value.to(own[name]) for name, value in checked.items()})
