"""The stems of a network: images (N, 3, H, W) -> the first two states, (N, C, H', W') each."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor, nn

from ops.layers import BlurPool, Mish
from ops.primitives import ANTIALIAS


# The stems of our own networks reflect at the border; all other convolutions pad with zeros.
def _conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False, padding_mode="reflect")


def _halving(channels_in: int, channels: int) -> list[nn.Module]:
    return [_conv(channels_in, channels, 3, 2), nn.BatchNorm2d(channels), Mish()]


# Kernels of 3 and 5 pixels: the two states differ, though both read the image.
def _full(channels: int, _antialias: str) -> list[list[nn.Module]]:
    return [[_conv(3, channels, kernel, 1), nn.BatchNorm2d(channels)] for kernel in (3, 5)]


def _quarter(channels: int, _antialias: str) -> list[list[nn.Module]]:
    return [_halving(3, channels) + _halving(channels, channels) for _ in range(2)]


def _quarter_blur(channels: int, antialias: str) -> list[list[nn.Module]]:
    """The second stem subsamples with BlurPool, unless convolutions are not anti-aliased."""
    pair = _quarter(channels, antialias)
    if "conv" in ANTIALIAS[antialias]:
        pair[1] = [*_halving(3, channels), BlurPool(channels)]
    return pair


def _single(channels: int, _antialias: str) -> list[list[nn.Module]]:
    return [[nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]]


# Three times the channels of the first cells, as DARTS, ENAS and NAO have it.
def _plain(channels: int, antialias: str) -> list[list[nn.Module]]:
    return _single(3 * channels, antialias)


def _imagenet(channels: int, _antialias: str) -> list[list[nn.Module]]:
    def halving(channels_in: int, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)]

    # The image is halved three times before the first cell, and between the two states once.
    # No activation behind the last norm: cells begin with ReLU themselves.
    first = [*halving(3, channels // 2), nn.ReLU(), *halving(channels // 2, channels)]
    return [first, [nn.ReLU(), *halving(channels, channels)]]


class Stems(nn.ModuleList):
    """One stem, whose output is both states, or two, of which the second reads the image, or ``chained`` the first."""

    def __init__(self, stems: Iterable[nn.Module], chained: bool) -> None:
        super().__init__(stems)
        self.chained = chained

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> (N, C, H', W') twice; where chained, the second is half as large."""
        first = self[0](images)
        if len(self) == 1:
            return first, first
        return first, self[1](first if self.chained else images)


class Stem(NamedTuple):
    """A way to read the image: the layers of each stem, and what the newer state divides its side by, rounding up.

    ``factor``: channels of the states by those of the first stage. ``chained``: as Stems has it.
    """

    layers: Callable[[int, str], list[list[nn.Module]]]
    divisor: int
    factor: int = 1
    chained: bool = False


STEMS = {
    "full": Stem(_full, 1),
    "quarter": Stem(_quarter, 4),
    "quarter_blur": Stem(_quarter_blur, 4),
    "plain": Stem(_plain, 1, 3),
    "imagenet": Stem(_imagenet, 8, chained=True),
    "single": Stem(_single, 1),  # of NAS-Bench-201
}


def build_stems(kind: str, channels: int, antialias: str) -> Stems:
    """All stems of a kind in the table, with fresh weights. Raises ValueError for another."""
    if kind not in STEMS:
        raise ValueError(f"stem {kind!r} is none of {', '.join(STEMS)}")
    stem = STEMS[kind]
    return Stems((nn.Sequential(*layers) for layers in stem.layers(channels, antialias)), stem.chained)


def stem_size(kind: str, image_size: int) -> int:
    """The side of the maps that leave the stems, in pixels."""
    return -(-image_size // STEMS[kind].divisor)


class Stemmed(NamedTuple):
    """A batch behind the stems: the states s0 and s1, (N, C, H', W') each, from which any genotype can go on."""

    s0: Tensor
    s1: Tensor

    @property
    def nbytes(self) -> int:
        """The memory that the two states take."""
        return self.s0.nbytes + self.s1.nbytes
