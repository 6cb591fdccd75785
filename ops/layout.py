"""Joining channels without leaving the memory format that the tensors are in.

torch's cat hands its gradient on as strided slices, and a shuffle by view and transpose leaves channels_last for
the plain format; operations after them then convert, or run through their slow paths (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def format_of(x: Tensor) -> torch.memory_format:
    """The memory format that a tensor (N, C, H, W), or a slice of its channels, lies in."""
    by_pixel = x.stride(1) == 1 and x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1
    return torch.channels_last if by_pixel else torch.contiguous_format


class _Interleave(torch.autograd.Function):
    @staticmethod
    def forward(_context, a: Tensor, b: Tensor) -> Tensor:
        n, channels, height, width = b.shape
        out = torch.empty(n, 2 * channels, height, width, dtype=b.dtype, device=b.device, memory_format=format_of(b))
        out[:, 0::2] = a  # each (N, C, H, W)
        out[:, 1::2] = b
        return out

    @staticmethod
    def backward(_context, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient[:, 0::2], gradient[:, 1::2]  # views: both go into operations that make a new tensor of them


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """Let the channels of two tensors take turns, beginning with the first one's.

    (N, C, H, W) twice -> (N, 2C, H, W): concatenation, then a channel shuffle in two groups (ShuffleNet, arXiv
    1707.01083).
    """
    return _Interleave.apply(a, b)


class _Concatenate(torch.autograd.Function):
    @staticmethod
    def forward(context, *parts: Tensor) -> Tensor:
        context.widths = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, ...]:
        kept = format_of(gradient)
        return tuple(part.contiguous(memory_format=kept) for part in gradient.split(context.widths, dim=1))


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Join tensors by channels: (N, C_i, H, W) each -> (N, sum of C_i, H, W)."""
    return _Concatenate.apply(*parts)
