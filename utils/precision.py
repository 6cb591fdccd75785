"""The arithmetic of a training step, chosen once: what runs in which precision, and how a loss becomes a step."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


class Precision:
    """float32: forward as it is, then backward, clip, step."""

    name = "fp32"
    patience = 1  # steps in a row with a loss that is not finite before a run is given up

    def autocast(self) -> AbstractContextManager:
        """Wraps a forward pass and its loss."""
        return nullcontext()

    def step(
        self,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
        parameters: Iterable[Tensor],
        clip: float | None = None,
    ) -> None:
        """Backward and one update; gradients are cleared to None first. ``clip``: largest gradient norm."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
