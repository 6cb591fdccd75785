"""Anti-aliased subsampling (Zhang, arXiv 1904.11486)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BlurPool(nn.Module):
    """Blur every channel with the binomial filter [1,2,1]x[1,2,1]/16 and keep every second pixel.

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
