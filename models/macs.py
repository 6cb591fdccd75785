"""Counting what a network costs: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Cost(NamedTuple):
    """Parameters without auxiliary heads, and multiply-accumulates of one image in convolutions and linear maps."""

    parameters: int
    macs: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


def measured(module: nn.Module, *inputs: Any) -> Cost:
    """What a module costs that reads these inputs; it is put in evaluation mode."""
    return Cost(sum(p.numel() for p in module.parameters()), count_macs(module.eval(), *inputs))


def count_macs(network: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-accumulates of one forward pass: values that a layer gives times what each of them sums up."""
    total = 0

    def count(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
