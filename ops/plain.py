"""The operations that ENAS and NAO choose from, by name (docs/method.md, section 24).

Built as those of ops.separable: ``operation(channels, stride, affine)`` keeps the channels, and maps (N, C, H, W) to
(N, C, H', W'), H' = ceil(H / stride).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ops.separable import SEPARABLE


def conv(kernel: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, a convolution of kernel x kernel pixels, batch norm."""
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


def pool(averages: bool, side: int, channels: int, stride: int, affine: bool) -> nn.Module:
    """The largest, or the mean, of those of side x side pixels that lie inside the map; side 2: see EvenPool."""
    if side == 2:
        return EvenPool(averages, stride)
    if averages:
        return nn.AvgPool2d(side, stride, side // 2, count_include_pad=False)
    return nn.MaxPool2d(side, stride, side // 2)


PLAIN: dict[str, Callable[[int, int, bool], nn.Module]] = {
    **{name: SEPARABLE[name] for name in ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")},
    "identity_again": SEPARABLE["identity"],
    "conv_1x1": partial(conv, 1),
    "conv_3x3": partial(conv, 3),
    "conv_1x3_3x1": partial(row_and_column, 3),
    "conv_1x7_7x1": partial(row_and_column, 7),
    "max_pool_2x2": partial(pool, False, 2),
    "max_pool_3x3_again": partial(pool, False, 3),
    "max_pool_5x5": partial(pool, False, 5),
    "avg_pool_2x2": partial(pool, True, 2),
    "avg_pool_3x3_again": partial(pool, True, 3),
    "avg_pool_5x5": partial(pool, True, 5),
}
