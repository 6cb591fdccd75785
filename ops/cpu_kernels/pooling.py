"""3x3 pools with a border of one, several times faster than torch's on a CPU (benchmarks/README.md)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ENOUGH = 2**16  # values of an input from which on this is faster


def average_pool(x: Tensor, stride: int) -> Tensor:
    """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride)); the zeros around the map are counted.

    As a depthwise convolution, for which oneDNN has a fast kernel.
    """
    kernel = x.new_full((x.shape[1], 1, 3, 3), 1 / 9)
    return F.conv2d(x, kernel, stride=stride, padding=1, groups=x.shape[1])


def max_pool(x: Tensor) -> Tensor:
    """(N, C, H, W) -> the same shape, without a gradient: the maximum of rows, then of columns."""
    for dim in (3, 2):
        size, out = x.shape[dim], x.clone()
        for ours, theirs in ((1, 0), (0, 1)):  # the neighbour before a pixel, then the one after it
            inner = out.narrow(dim, ours, size - 1)
            torch.maximum(inner, x.narrow(dim, theirs, size - 1), out=inner)
        x = out
    return x
