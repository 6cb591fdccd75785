"""Depthwise convolutions: one square kernel a channel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.cpu_kernels import use_cpu_kernel
from ops.cpu_kernels.depthwise import depthwise_5x5, is_faster
from ops.layout import format_of


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


class DilatedDepthwiseConv2d(DepthwiseConv2d):
    """Convolve every channel with a square kernel of its own, whose pixels are two apart.

    (N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride)), zeros around the map. Kernels are odd and padded by an even
    number, so every output reads pixels of its own parity alone: it is a plain convolution of maps of half the size,
    for which there are faster kernels. At stride 2 that is the one of the even pixels.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, kernel)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
        if self.step == 2:
            return super().forward(x[:, :, ::2, ::2].contiguous(memory_format=format_of(x)))
        n, channels, height, width = x.shape
        even = height % 2 == 0 and width % 2 == 0
        if even and torch.is_grad_enabled() and use_cpu_kernel(x) and format_of(x) == torch.channels_last:
            split = x.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2, channels)
            split = split.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)  # (4N, H/2, W/2, C): a batch of each parity
            given = super().forward(split.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            given = given.unflatten(0, (2, 2, n)).permute(2, 3, 0, 4, 1, 5)  # (N, H/2, 2, W/2, 2, C)
            return given.reshape(n, height, width, channels).permute(0, 3, 1, 2)  # (N, C, H, W)
        padding = 2 * (self.kernel_size[0] // 2)
        return F.conv2d(x, self.weight, None, 1, padding, 2, channels)
