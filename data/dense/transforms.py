"""What an image and all that is drawn in it go through together, by torchvision, one image at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from data.dense.annotated import Annotated, Target
from data.images import DataError
from data.large_images import finish, first_error
from data.presets import Preset

SCALE = (0.25, 1.0)  # share of the area that a training crop shows
SMALLEST_BOX = 2  # pixels; what a crop leaves less of is no object any more


def evaluation_transform(preset: Preset) -> v2.Transform:
    """uint8 (3, S, S) -> normalised float32; what is in the image stays where it is."""
    return v2.Compose(finish(preset))


def moves(preset: Preset) -> list[v2.Transform]:
    """A random crop, brought back to (3, S, S), and a mirror: the part that moves masks and boxes as well."""
    crop = v2.RandomResizedCrop(preset.image_size, scale=SCALE, antialias=True)
    return [crop, *([v2.RandomHorizontalFlip()] if preset.flip else [])]


def training_transform(preset: Preset, *, with_boxes: bool) -> v2.Transform:
    """uint8 (3, S, S) -> normalised float32, cropped, mirrored and with other colours.

    ``with_boxes``: the target holds boxes; those that are cut away go, with their labels.
    """
    sanitize = [v2.SanitizeBoundingBoxes(min_size=SMALLEST_BOX)] if with_boxes else []
    return v2.Compose([*moves(preset), *sanitize, v2.ColorJitter(0.4, 0.4, 0.4, 0.1), evaluation_transform(preset)])


class Samples(Dataset):
    """Transformed images with their targets by ``(index, seed)``: what comes out depends on nothing else.

    A file that cannot be used is returned as its DataError: raised in a worker, it would arrive as a traceback.
    """

    def __init__(self, images: Annotated, transform: v2.Transform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Target] | DataError:
        index, seed = key
        try:
            sample = self.images.sample(index)
        except DataError as error:
            return error
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            return self.transform(*sample)


def collate_masks(samples: list[tuple[Tensor, Target] | DataError], side: int) -> list[Tensor] | DataError:
    """Images (n, 3, S, S) and class ids (n, S, S) of a batch, none of both too, or the first error among them."""
    if not samples:
        return [torch.zeros(0, 3, side, side), torch.zeros(0, side, side, dtype=torch.long)]
    if error := first_error(samples):
        return error
    images, targets = zip(*samples, strict=True)
    ids = torch.stack([target["mask"].as_subclass(Tensor) for target in targets])
    return [torch.stack([image.as_subclass(Tensor) for image in images]), ids.long()]


def collate_boxes(samples: list[tuple[Tensor, Target] | DataError], side: int) -> list[Tensor] | DataError:
    """Images (n, 3, S, S) and boxes (n, m, 5) of a batch: x1, y1, x2, y2 in pixels and class; class -1 fills up."""
    if not samples:
        return [torch.zeros(0, 3, side, side), torch.zeros(0, 0, 5)]
    if error := first_error(samples):
        return error
    images, targets = zip(*samples, strict=True)
    most = max(len(target["labels"]) for target in targets)
    boxes = torch.full((len(targets), most, 5), -1.0)
    for row, target in zip(boxes, targets, strict=True):
        m = len(target["labels"])
        row[:m, :4], row[:m, 4] = target["boxes"].as_subclass(Tensor), target["labels"]
    return [torch.stack([image.as_subclass(Tensor) for image in images]), boxes]
