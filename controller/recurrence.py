"""The LSTM step by step, made for short sequences of few rows (docs/method.md, section 3).

What torch does for long sequences costs more here than the products themselves: a weight of 1 MB gets its gradient
once a step, from a handful of rows each time. Here it gets it once a sequence, from the rows of all steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, Tensor]  # h and c


class _OneGradient(torch.autograd.Function):
    """Hand on what is added in each step, (steps, n, out); on the way back, give a weight the gradient of all steps.

    ``seen``: filled during the walk with what the weight was applied to, (n, in) a step, detached.
    """

    @staticmethod
    def forward(context: Any, added: Tensor, _weight: Tensor, seen: list[Tensor]) -> Tensor:
        context.seen = seen
        return added.view_as(added)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient.flatten(0, 1).t() @ torch.cat(context.seen), None  # (out, n steps) (n steps, in)


class StepByStep:
    """A linear map that is applied in ``steps`` steps, each to what the step before gave.

    ``weight`` (out, in); ``added`` (steps, n, out): what each step adds, a bias for one. All steps must be taken.
    """

    def __init__(self, weight: Tensor, added: Tensor) -> None:
        self.weight, self.seen = weight.detach().t(), []
        self.added = iter(_OneGradient.apply(added, weight, self.seen).unbind(0))

    def __call__(self, x: Tensor) -> Tensor:
        """(n, in) -> (n, out)."""
        self.seen.append(x.detach())
        return torch.addmm(next(self.added), x, self.weight)


def lstm_step(gates: Tensor, c: Tensor) -> State:
    """Gates before their activation, (n, 4 * hidden) in torch's order, and the cell, (n, hidden) -> (h, c)."""
    write, keep, new, show = gates.chunk(4, dim=1)
    c = keep.sigmoid() * c + write.sigmoid() * new.tanh()
    return show.sigmoid() * c.tanh(), c
