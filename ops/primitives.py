"""The operations of our own space, without their names (docs/method.md, section 2).

Every one is built as ``Operation(width, out_width, stride, antialias)`` and maps (N, width, H, W) to
(N, out_width, H', W') with H' = H at stride 1 and ceil(H/2) at stride 2. Layers that own parameters are
registered in the order in which they run. No convolution has a bias.
"""

from torch import Tensor, nn

from ops.layers import BlurPool, DepthwiseConv2d, Mish, average_pool, max_pool, pointwise
from ops.layout import interleave

# By name, which operations blur before they subsample.
ANTIALIAS = {"conv": {"conv"}, "all": {"conv", "pool"}, "none": frozenset()}


class ShuffleUnit(nn.Module):
    """Work on half of the channels, leave the other half as it is, and let the two take turns.

    ShuffleNet V2, arXiv 1807.11164, figure 3c: (N, W, H, H) -> the same shape, W even.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            pointwise(half, half),
            nn.BatchNorm2d(half),
            Mish(),
            DepthwiseConv2d(half, kernel),
            nn.BatchNorm2d(half),
            pointwise(half, half),
            nn.BatchNorm2d(half),
            Mish(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, W, H, H) -> (N, W, H, H)."""
        # Half of the channels is passed on untouched: shorter ways for gradients, half of the work.
        passed, worked = x.chunk(2, dim=1)  # (N, W/2, H, H) each
        return interleave(passed, self.branch(worked))  # (N, W, H, H)


class ShuffleDown(nn.Module):
    """Halve the map and double the channels by two branches that both read all of the input.

    ShuffleNet V2, arXiv 1807.11164, figure 3d: (N, W, H, H) -> (N, 2W, ceil(H/2), ceil(H/2)). ``blurred``: BlurPool
    subsamples behind a convolution of stride 1; else the convolution itself has stride 2.
    """

    def __init__(self, width: int, kernel: int, blurred: bool) -> None:
        super().__init__()

        def depthwise() -> list[nn.Module]:
            conv = DepthwiseConv2d(width, kernel, stride=1 if blurred else 2)
            return [conv, BlurPool(width)] if blurred else [conv]

        self.branch_1 = nn.Sequential(
            *depthwise(), nn.BatchNorm2d(width), pointwise(width, width), nn.BatchNorm2d(width), Mish()
        )
        self.branch_2 = nn.Sequential(
            pointwise(width, width),
            nn.BatchNorm2d(width),
            Mish(),
            *depthwise(),
            nn.BatchNorm2d(width),
            pointwise(width, width),
            nn.BatchNorm2d(width),
            Mish(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, W, H, H) -> (N, 2W, ceil(H/2), ceil(H/2))."""
        return interleave(self.branch_1(x), self.branch_2(x))  # (N, W, H/2, H/2) each


class PooledConv(nn.Module):
    """A 1x1 convolution, a 3x3 pool with a border of one, and batch norm.

    ``kind``: ``avg`` or ``max``. Where pools are anti-aliased, those of stride 2 pool at stride 1 and subsample with
    BlurPool. Averaging (padding counted) commutes exactly with a bias-free 1x1 conv, so the average pool runs first: a
    quarter of the multiplications at stride 2.
    """

    def __init__(self, kind: str, width: int, out_width: int, stride: int, antialias: str) -> None:
        super().__init__()
        self.conv = pointwise(width, out_width)
        self.bn = nn.BatchNorm2d(out_width)
        self.averages, blurred = kind == "avg", "pool" in ANTIALIAS[antialias] and stride == 2
        self.stride = 1 if blurred else stride
        self.blur = BlurPool(width if self.averages else out_width) if blurred else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, W, H, H) -> (N, out, H', H'), H' = ceil(H/stride)."""
        x = self._pool(x) if self.averages else self.conv(x)  # (N, W, H', H') or (N, out, H, H)
        x = self.conv(x) if self.averages else self._pool(x)  # (N, out, H', H')
        return self.bn(x)

    def _pool(self, x: Tensor) -> Tensor:
        pool = average_pool if self.averages else max_pool
        x = pool(x, self.stride)
        return x if self.blur is None else self.blur(x)


def shuffle(kernel: int, width: int, out_width: int, stride: int, antialias: str) -> nn.Module:
    """A shuffle unit of either stride; stride 1 keeps the width, stride 2 doubles it."""
    if stride == 1:
        return ShuffleUnit(width, kernel)
    return ShuffleDown(width, kernel, blurred="conv" in ANTIALIAS[antialias])


def conv_1x1(width: int, out_width: int, stride: int, antialias: str) -> nn.Module:
    """A 1x1 convolution and batch norm, which keep the resolution at either stride."""
    return nn.Sequential(pointwise(width, out_width), nn.BatchNorm2d(out_width))
