"""Optimizers of network weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def make_sgd(
    parameters: Iterable[Tensor],
    lr: float,
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
    spare_norms: bool = False,
) -> torch.optim.SGD:
    """SGD with momentum. ``spare_norms``: weight decay on parameters of two or more dimensions only."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2 or not spare_norms], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2 and spare_norms], "weight_decay": 0.0},
    ]
    # One group where all decay alike: checkpoints of such runs have no second, empty one.
    groups = groups if spare_norms else groups[:1]
    # Torch refuses it without momentum.
    return torch.optim.SGD(groups, lr, momentum=momentum, nesterov=nesterov and momentum > 0)
