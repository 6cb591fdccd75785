"""Mish with one sigmoid, piece by piece.

torch's CPU kernel calls exp, log1p and tanh for every value, and again in the backward pass. With s = sigmoid(x) and
r = 1 - s the same function is x * s (1 + r) / (1 + r^2): one fast sigmoid and a few multiplications.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ops.layout import format_of

PIECE = 2**18  # values to work on at a time, so that what is computed in between stays in the cache


def mish(x: Tensor) -> Tensor:
    """Apply Mish to (N, C, H, W): the same shape, in the memory format of the input."""
    if torch.is_grad_enabled() or x.numel() > PIECE:
        return _Mish.apply(x)
    # The same arithmetic in two pieces of memory instead of four, without a view of each.
    x = x.contiguous(memory_format=format_of(x))
    one, s = x.new_ones(()), torch.sigmoid(x)
    r = one - s
    s.addcmul_(s, r)
    return s.div_(torch.addcmul(one, r, r, out=r)).mul_(x)


class _Mish(torch.autograd.Function):
    """Piece by piece. What is kept for the backward pass is the slope, in place of the input."""

    @staticmethod
    def forward(context, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=format_of(x))
        out = torch.empty_like(x)
        slope = torch.empty_like(x) if context.needs_input_grad[0] else None
        one, scratch = x.new_ones(()), x.new_empty(3, min(PIECE, x.numel()))
        targets = (out, out if slope is None else slope)
        for values, result, share in zip(*(_pieces(t) for t in (x, *targets)), strict=True):
            s, r, q = scratch[:, : values.numel()]
            torch.sigmoid(values, out=s)
            torch.sub(one, s, out=r)
            torch.addcmul(one, r, r, out=q)  # 1 + r^2
            torch.addcmul(s, s, r, out=share).div_(q)  # tanh(softplus(x))
            torch.mul(share, values, out=result)
            if slope is not None:  # tanh(softplus(x)) + 4 x s r^2 / (1 + r^2)^2
                r.div_(q)
                s.mul_(r)
                share.addcmul_(s, r.mul_(values), value=4)
        if slope is not None:
            context.save_for_backward(slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> Tensor:
        (slope,) = context.saved_tensors
        return gradient * slope


def _pieces(x: Tensor) -> tuple[Tensor, ...]:
    """The values of a dense tensor as they lie in memory."""
    return x.as_strided((x.numel(),), (1,)).split(PIECE)
