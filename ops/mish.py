"""Mish (Misra, arXiv 1908.08681)."""

from torch import Tensor, nn
from torch.nn import functional as F

from ops.cpu_kernels import use_cpu_kernel
from ops.cpu_kernels.mish import mish


class Mish(nn.Module):
    """The activation x * tanh(softplus(x)); shape and memory format of the input stay."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return mish(x) if use_cpu_kernel(x) else F.mish(x)
