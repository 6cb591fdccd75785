"""Squeeze-and-excitation with a gradient that goes over the map twice; autograd's goes over it seven times."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ops.cpu_kernels.mish import PIECE


def squeeze_excite(x: Tensor, reduce: Tensor, expand: Tensor) -> Tensor:
    """Gate the channels of (N, C, H, W) by what their means say.

    ``reduce`` (C//16, C) and ``expand`` (C, C//16) are the weights of the two linear maps.
    """
    return _SqueezeExcite.apply(x, reduce, expand)


class _SqueezeExcite(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, reduce: Tensor, expand: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))  # (N, C)
        squeezed = F.relu(means @ reduce.t())  # (N, C//16)
        gate = (squeezed @ expand.t()).sigmoid()  # (N, C)
        context.save_for_backward(x, reduce, expand, means, squeezed, gate)
        return x * gate[:, :, None, None]

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, reduce, expand, means, squeezed, gate = context.saved_tensors
        # A few images at a time, so that the products stay in the cache.
        images = max(1, PIECE // x[0].numel())
        of_gate = torch.cat(
            [(a * b).sum(dim=(2, 3)) for a, b in zip(gradient.split(images), x.split(images), strict=True)]
        )
        of_expanded = of_gate * gate * (1 - gate)  # (N, C)
        of_reduced = (of_expanded @ expand) * (squeezed > 0)  # (N, C//16)
        of_means = of_reduced @ reduce / (x.shape[2] * x.shape[3])  # (N, C), a pixel's share
        of_x = torch.addcmul(of_means[:, :, None, None], gradient, gate[:, :, None, None])
        return of_x, of_reduced.t() @ means, of_expanded.t() @ squeezed
