"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507, section 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.cpu_kernels import use_cpu_kernel
from ops.cpu_kernels.squeeze_excite import squeeze_excite

REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Multiply every channel by a gate in (0, 1), which depends on the means of all channels.

    (N, C, H, W) -> the same shape. No biases (docs/method.md, section 2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.reduce = nn.Linear(channels, squeezed, bias=False)
        self.expand = nn.Linear(squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if torch.is_grad_enabled() and use_cpu_kernel(x):
            return squeeze_excite(x, self.reduce.weight, self.expand.weight)
        means = x.mean(dim=(2, 3))  # (N, C)
        squeezed = F.relu(self.reduce(means))  # (N, C//16)
        gate = self.expand(squeezed).sigmoid()  # (N, C)
        return x * gate[:, :, None, None]  # (N, C, H, W)
