"""A 5x5 depthwise convolution whose weight gradient stays on oneDNN's fast path.

oneDNN has a depthwise weight gradient for kernels up to three wide. Wider ones take a general kernel that is up to
fifteen times slower (benchmarks/README.md), so that of a 5x5 convolution is put together from three of 5x3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ops.layout import format_of

ENOUGH = 2**17  # values of an input from which on three calls are cheaper than the slow one


def is_faster(x: Tensor) -> bool:
    """Whether three fast calls cost less than the slow one for this input."""
    return x.numel() >= ENOUGH and format_of(x) == torch.channels_last


def depthwise_5x5(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C, H, W) by channel with (C, 1, 5, 5), stride 1 and two rows and columns of zeros around."""
    return _Depthwise5.apply(x, weight)


class _Depthwise5(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = context.saved_tensors
        of_input = of_weight = None
        if context.needs_input_grad[0]:
            of_input = _backward(gradient, x, weight, (2, 2), (True, False))[0]
        if context.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, x, weight)
        return of_input, of_weight


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Columns 0 to 2 from the input moved by a pixel to the right, 2 to 4 from one moved to the left, 1 to 3 from the
    input itself. A move pushes a column out of the map that column 2 needs, so the unmoved input comes last."""
    of_weight, narrow = torch.empty_like(weight), weight[..., :3].contiguous()
    for first in (0, 2, 1):
        moved = x if first == 1 else F.pad(x, (1 - first, first - 1))
        of_weight[..., first : first + 3] = _backward(gradient, moved, narrow, (2, 1), (False, True))[1]
    return of_weight


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[Tensor, ...]:
    """Gradients of the input and of the weight of a depthwise convolution of stride 1; None for what is not wanted."""
    options = ((1, 1), padding, (1, 1), False, (0, 0), len(weight))
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *options, (*wanted, False))
