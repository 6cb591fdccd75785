"""What is done to images: to whole batches of small ones, on their device, or one at a time by torchvision.

Crop, flip, normalise and cutout of a batch take a handful of integers an image from a CPU generator, so they are the
same on every device. With images that are read one at a time, masks and boxes move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.transforms import v2

from data.images import LABELS, MASKS, Images, Target
from data.presets import Preset

COARSE_SIZES = (256, 128, 64, 32)
COARSE_PROBABILITIES = (0.55, 0.15, 0.15, 0.15)
SCALE = (0.25, 1.0)  # share of the area that a training crop of an image with masks or boxes shows
SMALLEST_BOX = 2  # pixels; what a crop leaves less of is no object any more


# By name, what makes a policy: a transform of one image, uint8 (3, S, S), with a random choice in it. It is given
# whether images are large ones, for which AutoAugment has a policy of its own.
_AUTO = {True: v2.AutoAugmentPolicy.IMAGENET, False: v2.AutoAugmentPolicy.CIFAR10}
POLICIES: dict[str, Callable[[bool], v2.Transform | None]] = {
    "none": lambda _large: None,
    "autoaugment": lambda large: v2.AutoAugment(_AUTO[large]),
    "randaugment": lambda _large: v2.RandAugment(),
    "trivialaugment": lambda _large: v2.TrivialAugmentWide(),
}


class Draws(NamedTuple):
    """For each of n images: crop offsets, whether it is mirrored, and the centre of the blanked square; (n,)."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    cut_row: Tensor
    cut_column: Tensor

    def part(self, share: slice) -> Draws:
        """The draws of some of the images, as those of one process."""
        return Draws(*(values[share] for values in self))

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        return Draws(*(values.to(device, non_blocking=True) for values in self))


def padding(preset: Preset) -> int:
    """How far a random crop may shift an image: an eighth of its side, 4 at 32."""
    return preset.image_size // 8


def draw(n: int, preset: Preset, generator: torch.Generator) -> Draws:
    """The random choices for n images: crops uniform over all shifts, mirrored with probability 1/2."""
    shifts, side = 2 * padding(preset) + 1, preset.image_size

    def integers(high: int) -> Tensor:
        return torch.randint(high, (n,), generator=generator)

    mirrored = integers(2).bool() if preset.flip else torch.zeros(n, dtype=torch.bool)
    return Draws(integers(shifts), integers(shifts), mirrored, integers(side), integers(side))


def normalise(pixels: Tensor, preset: Preset) -> Tensor:
    """uint8 (n, 3, S, S) -> float32 with mean 0 and deviation 1 a channel over the data set."""
    # (3, 1, 1) each
    mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] * 255 for v in (preset.mean, preset.std))
    return (pixels.float() - mean) / std


def crop(pixels: Tensor, draws: Draws, preset: Preset) -> Tensor:
    """uint8 (n, 3, S, S) -> uint8 of the same shape: zero-padded random crop, mirrored or not."""
    n, side, pad = len(pixels), preset.image_size, padding(preset)
    padded = F.pad(pixels, (pad,) * 4)  # (n, 3, S + 2 pad, S + 2 pad)
    steps = torch.arange(side, device=pixels.device)  # (S,)
    columns = torch.where(draws.mirrored[:, None], steps.flip(0), steps) + draws.left[:, None]  # (n, S)
    rows = steps + draws.top[:, None]  # (n, S)
    # Flat positions within one padded plane, the same for the three channels: (n, S, S) -> (n, 1, S * S).
    positions = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).view(n, 1, -1)
    taken = padded.flatten(2).gather(2, positions.expand(-1, 3, -1))  # (n, 3, S * S)
    return taken.view(n, 3, side, side)


def cut_out(images: Tensor, draws: Draws, preset: Preset) -> Tensor:
    """Blank a square of normalised images (n, 3, S, S) with zeros.

    DeVries and Taylor, arXiv 1708.04552; the square is clipped at the border.
    """
    if not preset.cutout:
        return images
    rows, columns = _outside(draws.cut_row, preset), _outside(draws.cut_column, preset)  # (n, S) each
    kept = rows[:, None, :, None] | columns[:, None, None, :]  # (n, 1, S, S)
    return images * kept


def _outside(centre: Tensor, preset: Preset) -> Tensor:
    """(n, S): whether a row or column lies outside the square around ``centre``."""
    first = centre[:, None] - preset.cutout // 2  # (n, 1)
    steps = torch.arange(preset.image_size, device=centre.device)  # (S,)
    return (steps < first) | (steps >= first + preset.cutout)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Let torchvision draw by a seed from the global generator, which is given back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def each(transform: v2.Transform, images: Tensor, seeds: Tensor) -> Tensor:
    """The transform of every image (n, ...), each with its own seed (n,), so that it depends on nothing else."""
    changed = [images[:0]]  # there may be no image
    for image, seed in zip(images, seeds.tolist(), strict=True):
        with drawing(seed):
            changed.append(transform(image)[None])
    return torch.cat(changed)  # (n, ...)


class ResolutionJitter(torch.nn.Module):
    """Shrink an image to one of four sizes and grow back (docs/method.md, section 5); sizes in relation to 256."""

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (3, D, D), or (n, 3, D, D) alike, -> the same shape, with less detail."""
        side = image.shape[-1]
        choice = int(torch.multinomial(torch.tensor(COARSE_PROBABILITIES), 1))
        coarse = max(1, side * COARSE_SIZES[choice] // COARSE_SIZES[0])
        if coarse == side:
            return image
        shrunk = v2.functional.resize(image, [coarse, coarse])  # (3, coarse, coarse)
        return v2.functional.resize(shrunk, [side, side])  # (3, D, D)


def finish(preset: Preset) -> list[torch.nn.Module]:
    """uint8 -> normalised float32."""
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(preset.mean, preset.std)]


def mirror(preset: Preset) -> list[torch.nn.Module]:
    """A mirror with probability 1/2, if a mirrored image is as good as the original."""
    return [v2.RandomHorizontalFlip()] if preset.flip else []


def colours() -> v2.Transform:
    """Other brightness, contrast, saturation and hue."""
    return v2.ColorJitter(0.4, 0.4, 0.4, 0.1)


def training_transform(
    preset: Preset, resolution_jitter: bool = False, policy: str = "none", erasing: float = 0.0
) -> v2.Transform:
    """uint8 (3, D, D) -> normalised float32 (3, S, S): random resized crop, colours or a policy, grey, mirror."""
    crop = v2.RandomResizedCrop(preset.image_size)  # (3, S, S)
    changes = [crop, POLICIES[policy](True) or colours(), v2.RandomGrayscale(0.2), *mirror(preset), *finish(preset)]
    first = [ResolutionJitter()] if resolution_jitter else []
    return v2.Compose([*first, *changes, *([v2.RandomErasing(erasing)] if erasing else [])])


def evaluation_transform(preset: Preset, *, is_dense: bool = False) -> v2.Transform:
    """uint8 (3, D, D) -> normalised float32 (3, S, S): the centre, or all where an image has a mask or boxes."""
    return v2.Compose([*([] if is_dense else [v2.CenterCrop(preset.image_size)]), *finish(preset)])


def moves(preset: Preset) -> list[v2.Transform]:
    """A random crop, brought back to (3, S, S), and a mirror: the part that moves masks and boxes as well."""
    return [v2.RandomResizedCrop(preset.image_size, scale=SCALE, antialias=True), *mirror(preset)]


def dense_transform(preset: Preset, *, with_boxes: bool) -> v2.Transform:
    """uint8 (3, S, S) -> normalised float32, cropped, mirrored and with other colours.

    ``with_boxes``: the target holds boxes; those that are cut away go, with their labels.
    """
    sanitize = [v2.SanitizeBoundingBoxes(min_size=SMALLEST_BOX)] if with_boxes else []
    return v2.Compose([*moves(preset), *sanitize, colours(), *finish(preset)])


class Samples(Dataset):
    """Transformed images with their targets by ``(index, seed)``: what comes out depends on nothing else."""

    def __init__(self, images: Images, transform: v2.Transform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Target]:
        index, seed = key
        image, target = self.images.sample(index)
        with drawing(seed):
            # A class is no target that moves with its image.
            return (self.transform(image), target) if isinstance(target, int) else self.transform(image, target)


def collate(samples: list[tuple[Tensor, Target]], side: int, targets: str) -> list[Tensor]:
    """Images (n, 3, side, side) and targets of a batch, which may be empty.

    Targets are class indices (n,), class ids (n, side, side), or boxes (n, m, 5): x1, y1, x2, y2 in pixels and class,
    where a class of -1 fills up.
    """
    images = torch.cat([torch.empty(0, 3, side, side), *(image[None] for image, _ in samples)])
    of_images = [target for _, target in samples]
    if targets == LABELS:
        return [images, torch.tensor(of_images, dtype=torch.long)]  # (n,)
    if targets == MASKS:
        none = torch.empty(0, side, side, dtype=torch.long)
        return [images, torch.cat([none, *(target["mask"][None] for target in of_images)])]
    boxes = torch.full((len(samples), max((len(t["labels"]) for t in of_images), default=0), 5), -1.0)
    for row, target in zip(boxes, of_images, strict=True):
        m = len(target["labels"])
        # Corners in the first four columns, the class in the fifth; the other rows stay -1.
        row[:m, :4], row[:m, 4] = target["boxes"].as_subclass(Tensor), target["labels"]
    return [images, boxes]
