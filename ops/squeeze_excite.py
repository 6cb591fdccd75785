"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507, section 3)."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ops.by_hand import PIECE, by_hand

REDUCTION = 16


class SqueezeExcite(nn.Module):
    """(N, C, H, W) -> the same shape, every channel times a gate in (0, 1). No biases (METHOD section 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.reduce = nn.Linear(channels, squeezed, bias=False)
        self.expand = nn.Linear(squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and by_hand(x):
            return _SqueezeExcite.apply(x, self.reduce.weight, self.expand.weight)
        gate = self.expand(F.relu(self.reduce(x.mean(dim=(2, 3)))))
        return x * gate.sigmoid()[:, :, None, None]


class _SqueezeExcite(torch.autograd.Function):
    """Its backward pass goes over the map twice; autograd's goes over it seven times."""

    @staticmethod
    def forward(context, x: Tensor, reduce: Tensor, expand: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))
        squeezed = F.relu(means @ reduce.t())
        gate = (squeezed @ expand.t()).sigmoid()
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
        of_expanded = of_gate * gate * (1 - gate)
        of_reduced = (of_expanded @ expand) * (squeezed > 0)
        of_means = of_reduced @ reduce / (x.shape[2] * x.shape[3])
        of_x = torch.addcmul(of_means[:, :, None, None], gradient, gate[:, :, None, None])
        return of_x, of_reduced.t() @ means, of_expanded.t() @ squeezed
