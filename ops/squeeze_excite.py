"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507, section 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.cpu_kernels import use_cpu_kernel
from ops.cpu_kernels.squeeze_excite import squeeze_excite

REDUCTION = 16


class SqueezeExcite(nn.Module):
    """(N, C, H, W) -> the same shape, every channel times a gate in (0, 1). No biases (docs/method.md, section 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.reduce = nn.Linear(channels, squeezed, bias=False)
        self.expand = nn.Linear(squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels by what their means say."""
        if torch.is_grad_enabled() and use_cpu_kernel(x):
            return squeeze_excite(x, self.reduce.weight, self.expand.weight)
        means = x.mean(dim=(2, 3))  # (N, C)
        gate = self.expand(F.relu(self.reduce(means))).sigmoid()  # (N, C)
        return x * gate[:, :, None, None]
