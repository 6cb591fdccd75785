"""The two stems of a network: (N, 3, H, W) -> (N, C, H', W'). They read the image independently."""

from torch import Tensor, nn

from ops.blur_pool import BlurPool
from ops.mish import Mish

STEMS = ("full", "quarter", "quarter_blur")


def _conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False, padding_mode="reflect")


def _halving(channels_in: int, channels: int) -> list[nn.Module]:
    return [_conv(channels_in, channels, 3, 2), nn.BatchNorm2d(channels), Mish()]


def build_stems(kind: str, channels: int, antialias: str) -> nn.ModuleList:
    """Build the two stems of a kind in STEMS, each (N, 3, H, W) -> (N, channels, H', W').

    ``full`` keeps the size, ``quarter`` and ``quarter_blur`` divide it by 4, rounding up twice.

    ``quarter_blur`` subsamples the second stem with BlurPool; with antialias ``none``, by plain strides.
    """
    if kind == "full":
        pair = [[_conv(3, channels, kernel, 1), nn.BatchNorm2d(channels)] for kernel in (3, 5)]
    elif kind in ("quarter", "quarter_blur"):
        pair = [_halving(3, channels) + _halving(channels, channels) for _ in range(2)]
        if kind == "quarter_blur" and antialias != "none":
            pair[1] = [*_halving(3, channels), BlurPool(channels)]
    else:
        raise ValueError(f"stem {kind!r} is none of {', '.join(STEMS)}")
    return nn.ModuleList(nn.Sequential(*layers) for layers in pair)


def stem_stride(kind: str) -> int:
    """By how much smaller than the image the maps are that leave the stems."""
    return 1 if kind == "full" else 4


def stem_size(kind: str, image_size: int) -> int:
    """The side of the maps that leave the stems, in pixels."""
    return -(-image_size // stem_stride(kind))


def run_stems(stems: nn.ModuleList, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the first two states, s0 and s1, from images (N, 3, H, W)."""
    return stems[0](images), stems[1](images)  # (N, C, H', W') each
