"""The operations of spaces that stack cells, DARTS, ENAS and NAO, without their names.

What each is: docs/spaces.md, sections 22 and 24.

Every one keeps the number of channels: it is built as ``operation(channels, stride, affine)`` and maps (N, C, H, W) to
(N, C, H', W'), H' = ceil(H / stride). ``affine``: whether its batch norms scale and shift. Layers are registered in the
order in which they run; what has a batch norm is a row of layers that ends with it. No convolution has a bias.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.layers import DepthwiseConv2d, DilatedDepthwiseConv2d, pointwise


class Rectified(nn.Sequential):
    """Layers that read ReLU of a state, (N, C, H, W), which other operations may read too."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> what the layers make of its ReLU, (N, C', H', W')."""
        return super().forward(F.relu(x))


class HalvingPointwise(nn.Conv2d):
    """A 1x1 convolution of every second pixel, without bias: (N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2)).

    Pixels are picked first, so that the convolution itself has stride 1. The weight gradient of one with stride 2 makes
    oneDNN on x86 write past its workspace in channels_last, with fewer than 16 input channels (8 with AVX2 alone):
    seen with torch 2.6.0 and 2.14.1, open in uxlfoundation/oneDNN as number 6035.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""
        return super().forward(x[:, :, ::2, ::2])  # reads (N, C, ceil(H/2), ceil(W/2))


class HalvingPair(nn.Module):
    """Two 1x1 convolutions of every second pixel, whose grids are one pixel apart, each to half of the channels.

    (N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2)), out even. Where a side is odd, the second grid ends one pixel
    behind the map, which reads zero.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        first = out_channels // 2
        self.even = HalvingPointwise(channels, first)
        self.odd = HalvingPointwise(channels, out_channels - first)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""
        height, width = x.shape[-2:]
        shifted = x[:, :, 1:, 1:]  # (N, C, H - 1, W - 1)
        if height % 2 or width % 2:
            shifted = F.pad(shifted, (0, width % 2, 0, height % 2))
        return torch.cat((self.even(x), self.odd(shifted)), dim=1)  # (N, out / 2, H/2, W/2) each


def reduce(channels: int, out_channels: int, affine: bool, rectified: bool = True) -> nn.Sequential:
    """Halve the map without a kernel: the factorized reduction. ``rectified``: ReLU first."""
    row = Rectified if rectified else nn.Sequential
    return row(HalvingPair(channels, out_channels), nn.BatchNorm2d(out_channels, affine=affine))


def project(channels: int, out_channels: int, affine: bool) -> nn.Sequential:
    """ReLU, a 1x1 convolution, batch norm: brings a state to the channels of a cell."""
    return Rectified(pointwise(channels, out_channels), nn.BatchNorm2d(out_channels, affine=affine))


def sep_conv(kernel: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """Twice ReLU, depthwise, 1x1, batch norm; the first one has the stride."""
    layers: list[nn.Module] = []
    # The published operation is this row twice; the map is halved by the first.
    for step in (stride, 1):
        layers += [DepthwiseConv2d(channels, kernel, step), pointwise(channels, channels)]
        layers += [nn.BatchNorm2d(channels, affine=affine), nn.ReLU()]
    return Rectified(*layers[:-1])


def dil_conv(kernel: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, depthwise with every second pixel left out, 1x1, batch norm."""
    depthwise = DilatedDepthwiseConv2d(channels, kernel, stride)
    return Rectified(depthwise, pointwise(channels, channels), nn.BatchNorm2d(channels, affine=affine))


def conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, a row and then a column of seven pixels, batch norm."""
    row = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
    column = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
    return Rectified(row, column, nn.BatchNorm2d(channels, affine=affine))


def skip(channels: int, stride: int, affine: bool, rectified: bool = True) -> nn.Module:
    """Nothing at stride 1, the factorized reduction at stride 2. ``rectified``: ReLU before it."""
    return nn.Identity() if stride == 1 else reduce(channels, channels, affine, rectified)


def conv(kernel: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, a convolution of kernel x kernel pixels, batch norm."""
    if kernel == 1 and stride == 2:
        layer = HalvingPointwise(channels, channels)
    else:
        layer = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), layer, nn.BatchNorm2d(channels, affine=affine))


def row_and_column(length: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, a row of pixels, batch norm; ReLU, a column of as many, batch norm."""
    half = length // 2
    row = nn.Conv2d(channels, channels, (1, length), (1, stride), (0, half), bias=False)
    column = nn.Conv2d(channels, channels, (length, 1), (stride, 1), (half, 0), bias=False)
    layers: list[nn.Module] = []
    for line in (row, column):
        layers += [nn.ReLU(), line, nn.BatchNorm2d(channels, affine=affine)]
    return nn.Sequential(*layers)


class EvenPool(nn.Module):
    """The largest or the mean of 2x2 pixels: (N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s)).

    A row and a column of zeros are added at the end, which count as pixels.
    """

    def __init__(self, averages: bool, stride: int) -> None:
        super().__init__()
        self.pool, self.stride = F.avg_pool2d if averages else F.max_pool2d, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s))."""
        return self.pool(F.pad(x, (0, 1, 0, 1)), 2, self.stride)


def pool(averages: bool, side: int, channels: int, stride: int, _affine: bool) -> nn.Module:
    """The largest, or the mean, of those of side x side pixels that lie inside the map; side 2: see EvenPool."""
    if side == 2:
        return EvenPool(averages, stride)
    if averages:
        return nn.AvgPool2d(side, stride, side // 2, count_include_pad=False)
    return nn.MaxPool2d(side, stride, side // 2)
