"""Depthwise convolution: one square kernel a channel."""

import torch
from torch import Tensor, nn

from ops.cpu_kernels import use_cpu_kernel
from ops.cpu_kernels.depthwise import depthwise_5x5, is_faster


class DepthwiseConv2d(nn.Conv2d):
    """Convolve every channel with a square kernel of its own, of odd side and with zeros around the map.

    (N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride)).
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride)); by the CPU kernel where that is faster."""
        is_5x5 = self.kernel_size == (5, 5) and self.stride == (1, 1)
        if is_5x5 and torch.is_grad_enabled() and use_cpu_kernel(x) and is_faster(x):
            return depthwise_5x5(x, self.weight)
        return super().forward(x)
