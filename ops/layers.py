"""The layers that operations are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.cpu_kernels import pooling, use_cpu_kernel
from ops.cpu_kernels.depthwise import depthwise_5x5, is_faster
from ops.cpu_kernels.mish import mish
from ops.cpu_kernels.squeeze_excite import squeeze_excite
from ops.layout import format_of

REDUCTION = 16  # of the channels inside a squeeze-and-excitation


def pointwise(width: int, out_width: int) -> nn.Conv2d:
    """A 1x1 convolution without bias: (N, width, H, W) -> (N, out_width, H, W)."""
    return nn.Conv2d(width, out_width, 1, bias=False)


def average_pool(x: Tensor, stride: int) -> Tensor:
    """Average 3x3 pixels, zeros around the map counted: (N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
    if use_cpu_kernel(x) and x.numel() >= pooling.ENOUGH:
        return pooling.average_pool(x, stride)
    return F.avg_pool2d(x, 3, stride, 1)


def max_pool(x: Tensor, stride: int) -> Tensor:
    """The largest of 3x3 pixels: (N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
    if stride == 1 and not torch.is_grad_enabled() and use_cpu_kernel(x) and x.numel() >= pooling.ENOUGH:
        return pooling.max_pool(x)
    return F.max_pool2d(x, 3, stride, 1)


class Mish(nn.Module):
    """Mish (Misra, arXiv 1908.08681): x * tanh(softplus(x)); shape and memory format of the input stay."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return mish(x) if use_cpu_kernel(x) else F.mish(x)


class BlurPool(nn.Module):
    """Anti-aliased subsampling (Zhang, arXiv 1904.11486): blur by [1,2,1]x[1,2,1]/16, then every second pixel.

    (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)), with one pixel of reflect padding on each side. A side of one pixel
    has nothing to reflect and repeats its pixel instead, so that small images train too. No parameters, and nothing in
    the state dict.
    """

    kernel: Tensor
    keeps_constants = True  # its weights sum to one: a scale and a shift of a channel may as well come before it

    def __init__(self, channels: int) -> None:
        super().__init__()
        binomial = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(binomial, binomial) / 16
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the maps, rounding up."""
        mode = "reflect" if min(x.shape[-2:]) > 1 else "replicate"
        padded = F.pad(x, (1, 1, 1, 1), mode=mode)  # (N, C, H + 2, W + 2)
        return F.conv2d(padded, self.kernel, stride=2, groups=x.shape[1])  # (N, C, ceil(H/2), ceil(W/2))


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al., arXiv 1709.01507, section 3).

    Every channel is multiplied by a gate in (0, 1), which depends on the means of all channels:
    (N, C, H, W) -> the same shape. No biases (docs/method.md, section 2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Narrow networks still need one channel inside.
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


def keep_masks(edges: int, batch: int, p: float | Tensor, like: Tensor) -> Tensor:
    """Draw factors of drop path for a batch, (paths, N, 1, 1, 1): 0 with probability ``p``, else 1/(1-p).

    Huang et al., arXiv 1603.09382, for each image by itself as in Larsson et al., arXiv 1605.07648. One draw for many
    edges, on the device and in the precision of ``like``. Multiplying by the factors keeps the mean.
    """
    # Drawn in float32: half precision would round probabilities.
    drawn = torch.rand(edges, batch, 1, 1, 1, device=like.device, dtype=torch.float32)
    return ((drawn >= p) / (1 - p)).to(like.dtype)
