"""Batches of normalised images on the device.

What a batch holds depends on the seed, the stream, the epoch and the position of the batch alone: not on the
number of workers or processes, nor on what was read before. So a run continues at any batch of any epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from data import transforms
from data.decoding import DataError
from data.images import BOXES, LABELS, Images
from data.presets import Preset
from data.workers import read_batches
from utils.system.seeds import derived_seed

# What messages call the images of a loader, by the name of the stream that it draws from.
SPLITS = {
    "train": "train/",
    "weights": "train/ without the reward part",
    "calibration": "train/ without the reward part",
    "rewards": "the reward part of train/",
    "valid": "val/",
    "test": "val/",
}


class Batch(NamedTuple):
    """Images (n, 3, S, S) and labels of this process: (n,), class ids (n, S, S) or boxes (n, m, 5).

    A class id of 255 is ignored. A box is x1, y1, x2, y2 in pixels and its class; a class of -1 fills up a batch.
    """

    images: Tensor
    labels: Tensor


def balanced_sizes(n: int, batch_size: int, processes: int = 1) -> list[int]:
    """The sizes of the batches into which n images are cut, for all processes together; they sum to n.

    They differ by one at most, larger ones first. There are ceil(n / (batch_size * processes)) of them, or fewer where
    a batch would have a single image (so at a batch size of 2 an odd image joins a pair) or fewer images than there
    are processes. Such a batch is left only where n itself is so small, or batch_size * processes is 1.
    """
    together = batch_size * processes  # images of a global batch
    fewest = max(processes, min(2, together))  # norms of batches need two images, a process one
    count = -(-n // together)
    if n >= fewest:
        count = min(count, n // fewest)
    return [n // count + (i < n % count) for i in range(count)]


@dataclass(eq=False, repr=False)
class Loader(ABC):
    """One pass over all images an epoch, each exactly once over all processes. ``len``: batches a pass.

    Batches are balanced (:func:`balanced_sizes`), so none is left with a single image. ``stream``: what the draws
    are for; other streams draw otherwise. ``split``: what messages call the images. ``policy``, ``erasing``: further
    changes of images that are augmented. Raises DataError where a process would have nothing to train on.
    """

    images: Images
    preset: Preset
    _: KW_ONLY
    batch_size: int
    device: torch.device
    seed: int
    stream: str
    augment: bool
    shuffle: bool
    policy: str = "none"
    erasing: float = 0.0
    rank: int = 0
    world_size: int = 1
    views: ClassVar[int] = 1  # what a network is shown of every image

    def __post_init__(self) -> None:
        self.split = SPLITS.get(self.stream, self.stream)
        # Of all processes together: each takes its share of every batch.
        self.sizes = balanced_sizes(len(self.images), self.batch_size, self.world_size)
        if self.augment and len(self.images) < self.world_size:
            raise DataError(
                f"{self.split} has {len(self.images)} images for {self.world_size} processes to train on, and each "
                "needs one in every step: start fewer processes"
            )
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def num_images(self) -> int:
        """How many images a pass shows, over all processes."""
        return len(self.images)

    @property
    def smallest_batch(self) -> int:
        """The fewest images that a process gets in one batch, if it gets any: in evaluation it may get none."""
        return max(1, min(self.sizes) // self.world_size)

    @property
    def first_batch(self) -> int:
        """How many images the first process gets in its first batch of a pass."""
        return self.sizes[0] // self.world_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the pass that iterating yields, from batch ``start`` on."""
        self.epoch, self.start = epoch, start

    def order(self) -> Tensor:
        """All positions, in the order of this pass."""
        if not self.shuffle:
            return torch.arange(len(self.images))
        return torch.randperm(len(self.images), generator=self._generator("order"))

    def _generator(self, *parts: object) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.seed, self.stream, self.epoch, *parts))

    def _shares(self) -> Iterator[tuple[int, Tensor, slice]]:
        """For each batch from ``start``: its number, its global positions, the share of this process."""
        for number, positions in enumerate(self.order().split(self.sizes)):
            if number < self.start:  # done before the run was stopped
                continue
            n = len(positions)
            # Shares differ by one image at most, and none is in two.
            yield number, positions, slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]:
        """The batches of this process, from ``start`` on."""


@dataclass(eq=False, repr=False)
class TensorLoader(Loader):
    """Small images: one uint8 tensor on the device, transformed a batch at a time; a policy, image by image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.change = transforms.POLICIES[self.policy](False)
        self.pixels, self.labels = self.images.pixels.to(self.device), self.images.labels.to(self.device)

    def __iter__(self) -> Iterator[Batch]:
        for number, positions, share in self._shares():
            mine = positions[share].to(self.device, non_blocking=True)
            pixels = self.pixels[mine]  # uint8 (n, 3, S, S)
            if not self.augment:  # evaluation shows images as they are
                yield Batch(transforms.normalise(pixels, self.preset), self.labels[mine])
                continue
            # Drawn for all processes, so that what an image looks like does not depend on their number.
            generator = self._generator(number)
            draws = transforms.draw(len(positions), self.preset, generator).part(share).to(self.device)
            seeds = torch.randint(2**62, (len(positions),), generator=generator)[share]  # (n,)
            pixels = transforms.crop(pixels, draws, self.preset)  # uint8 (n, 3, S, S), mirrored or not
            if self.change is not None:
                pixels = transforms.each(self.change, pixels, seeds)  # uint8 (n, 3, S, S)
            images = transforms.normalise(pixels, self.preset)  # float32 (n, 3, S, S)
            images = transforms.cut_out(images, draws, self.preset)
            if self.erasing:
                images = transforms.each(v2.RandomErasing(self.erasing), images, seeds)
            yield Batch(images, self.labels[mine])


@dataclass(eq=False, repr=False)
class LargeImageLoader(Loader):
    """Large images, and all with masks or boxes: read and transformed one at a time, by ``workers``."""

    workers: int = field(default=0, kw_only=True)
    resolution_jitter: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_dense = self.images.targets != LABELS
        if not self.augment:
            transform = transforms.evaluation_transform(self.preset, is_dense=is_dense)
        elif is_dense:
            transform = transforms.dense_transform(self.preset, with_boxes=self.images.targets == BOXES)
        else:
            transform = transforms.training_transform(self.preset, self.resolution_jitter, self.policy, self.erasing)
        self.samples = transforms.Samples(self.images, transform)

    def __iter__(self) -> Iterator[Batch]:
        # The whole pass is planned before workers start: they need no draw of their own.
        keys = []
        for number, positions, share in self._shares():
            seeds = torch.randint(2**62, (len(positions),), generator=self._generator(number))
            # One seed an image, drawn for all processes alike.
            keys.append(list(zip(positions[share].tolist(), seeds[share].tolist(), strict=True)))
        together = partial(transforms.collate, side=self.preset.image_size, targets=self.images.targets)
        options = {"workers": self.workers, "pin_memory": self.device.type != "cpu"}
        for batch in read_batches(self.samples, keys, together, **options):
            yield Batch(*(x.to(self.device, non_blocking=True) for x in batch))


def make_loader(
    images: Images, preset: Preset, *, workers: int = 0, resolution_jitter: bool = False, **options
) -> Loader:
    """The loader that fits the images; ``options`` as for :class:`Loader`."""
    if preset.is_small and images.targets == LABELS:
        return TensorLoader(images, preset, **options)
    return LargeImageLoader(images, preset, workers=workers, resolution_jitter=resolution_jitter, **options)


def read_first_batch(loader: Loader, most: int | None = None) -> Batch:
    """The first batch of a loader, or of it no more images than ``most``."""
    loader.set_epoch(0)
    batch = next(iter(loader))
    return batch._replace(images=batch.images[:most], labels=batch.labels[:most])


def forever(loader: Loader, first: int) -> Iterator[Batch]:
    """Batches number ``first``, ``first + 1``, ... counted over all passes, without end."""
    epoch, start = divmod(first, len(loader))
    while True:
        loader.set_epoch(epoch, start)
        yield from loader
        epoch, start = epoch + 1, 0
