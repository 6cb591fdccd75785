"""Transforms of images that are read one at a time, by torchvision; masks and boxes move with their image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from data.decoding import DataError
from data.images import BOXES, LABELS, MASKS, Images, Target
from data.presets import Preset

COARSE_SIZES = (256, 128, 64, 32)
COARSE_PROBABILITIES = (0.55, 0.15, 0.15, 0.15)
SCALE = (0.25, 1.0)  # share of the area that a training crop of an image with masks or boxes shows
SMALLEST_BOX = 2  # pixels; what a crop leaves less of is no object any more


def _autoaugment(large: bool) -> v2.Transform:
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET if large else v2.AutoAugmentPolicy.CIFAR10)


# By name, what makes a policy: a transform of one image, uint8 (3, S, S), with a random choice in it. It is given
# whether images are large ones, for which AutoAugment has a policy of its own.
POLICIES: dict[str, Callable[[bool], v2.Transform | None]] = {
    "none": lambda _large: None,
    "autoaugment": _autoaugment,
    "randaugment": lambda _large: v2.RandAugment(),
    "trivialaugment": lambda _large: v2.TrivialAugmentWide(),
}


def each(transform: v2.Transform, images: Tensor, seeds: Tensor) -> Tensor:
    """The transform of every image (n, ...), each with its own seed (n,), so that it depends on nothing else."""
    if not len(images):
        return images
    changed = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images, seeds.tolist(), strict=True):
            torch.random.default_generator.manual_seed(seed)
            changed.append(transform(image))
    return torch.stack(changed)  # (n, ...)


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


def training_transform(
    preset: Preset, resolution_jitter: bool = False, policy: str = "none", erasing: float = 0.0
) -> v2.Transform:
    """uint8 (3, D, D) -> normalised float32 (3, S, S): random resized crop, colours or a policy, grey, mirror."""
    chosen = POLICIES[policy](True)
    return v2.Compose(
        ([ResolutionJitter()] if resolution_jitter else [])
        + [
            v2.RandomResizedCrop(preset.image_size),  # (3, S, S)
            chosen or v2.ColorJitter(0.4, 0.4, 0.4, 0.1),  # brightness, contrast, saturation, hue
            v2.RandomGrayscale(0.2),
        ]
        + ([v2.RandomHorizontalFlip()] if preset.flip else [])
        + finish(preset)
        + ([v2.RandomErasing(erasing)] if erasing else [])
    )


def evaluation_transform(preset: Preset, *, is_dense: bool = False) -> v2.Transform:
    """uint8 (3, D, D) -> normalised float32 (3, S, S): the centre, or all where an image has a mask or boxes."""
    return v2.Compose([*([] if is_dense else [v2.CenterCrop(preset.image_size)]), *finish(preset)])


def moves(preset: Preset) -> list[v2.Transform]:
    """A random crop, brought back to (3, S, S), and a mirror: the part that moves masks and boxes as well."""
    crop = v2.RandomResizedCrop(preset.image_size, scale=SCALE, antialias=True)
    return [crop, *([v2.RandomHorizontalFlip()] if preset.flip else [])]


def dense_transform(preset: Preset, *, with_boxes: bool) -> v2.Transform:
    """uint8 (3, S, S) -> normalised float32, cropped, mirrored and with other colours.

    ``with_boxes``: the target holds boxes; those that are cut away go, with their labels.
    """
    sanitize = [v2.SanitizeBoundingBoxes(min_size=SMALLEST_BOX)] if with_boxes else []
    return v2.Compose([*moves(preset), *sanitize, v2.ColorJitter(0.4, 0.4, 0.4, 0.1), *finish(preset)])


class Samples(Dataset):
    """Transformed images with their targets by ``(index, seed)``: what comes out depends on nothing else.

    A file that cannot be used is returned as its DataError: raised in a worker, it would arrive as a traceback.
    """

    def __init__(self, images: Images, transform: v2.Transform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Target] | DataError:
        index, seed = key
        try:
            image, target = self.images.sample(index)
        except DataError as error:
            return error
        # torchvision draws from the global generator, which is given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            if isinstance(target, int):
                return self.transform(image), target
            return self.transform(image, target)


def collate(samples: list[tuple[Tensor, Target] | DataError], side: int, targets: str) -> list[Tensor] | DataError:
    """Images (n, 3, side, side) and targets of a batch, which may be empty; or the first error among the samples.

    Targets are class indices (n,), class ids (n, side, side), or boxes (n, m, 5): x1, y1, x2, y2 in pixels and class,
    where a class of -1 fills up.
    """
    if error := next((sample for sample in samples if isinstance(sample, DataError)), None):
        return error
    images = torch.empty(len(samples), 3, side, side)  # float32
    for row, (image, _) in zip(images, samples, strict=True):
        row.copy_(image)
    targets_of = [target for _, target in samples]
    if targets == LABELS:
        return [images, torch.tensor(targets_of, dtype=torch.long)]  # (n,)
    if targets == MASKS:
        ids = torch.empty(len(samples), side, side, dtype=torch.long)
        for row, target in zip(ids, targets_of, strict=True):
            row.copy_(target["mask"])
        return [images, ids]
    assert targets == BOXES
    boxes = torch.full((len(samples), max((len(t["labels"]) for t in targets_of), default=0), 5), -1.0)
    for row, target in zip(boxes, targets_of, strict=True):
        m = len(target["labels"])
        # Corners in the first four columns, the class in the fifth; the other rows stay -1.
        row[:m, :4], row[:m, 4] = target["boxes"].as_subclass(Tensor), target["labels"]
    return [images, boxes]
