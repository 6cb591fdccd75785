"""Transforms of large images, by torchvision, one image at a time in the workers of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torchvision.transforms import v2

from data.images import DataError, Images
from data.policies import make_policy
from data.presets import Preset

COARSE_SIZES = (256, 128, 64, 32)
COARSE_PROBABILITIES = (0.55, 0.15, 0.15, 0.15)


class ResolutionJitter(torch.nn.Module):
    """Shrink an image to one of four sizes and grow back (docs/method.md, section 5); sizes in relation to 256."""

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (3, D, D) -> the same shape, with less detail."""
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
    chosen = make_policy(policy, large=True)
    return v2.Compose(
        ([ResolutionJitter()] if resolution_jitter else [])
        + [
            v2.RandomResizedCrop(preset.image_size),  # (3, S, S)
            chosen or v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
            v2.RandomGrayscale(0.2),
        ]
        + ([v2.RandomHorizontalFlip()] if preset.flip else [])
        + finish(preset)
        + ([v2.RandomErasing(erasing)] if erasing else [])
    )


def evaluation_transform(preset: Preset) -> v2.Transform:
    """uint8 (3, D, D) -> normalised float32 (3, S, S): the centre."""
    return v2.Compose([v2.CenterCrop(preset.image_size), *finish(preset)])


class LargeImages(Dataset):
    """Transformed images by ``(index, seed)``: what comes out depends on nothing else, on no worker either.

    A file that cannot be decoded is returned as its DataError: raised in a worker, it would arrive as a traceback.
    """

    def __init__(self, images: Images, transform: v2.Transform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | DataError:
        index, seed = key
        try:
            image = self.images.decoded(index)
        except DataError as error:
            return error
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            return self.transform(image), int(self.images.labels[index])


def collate(samples: list[tuple[Tensor, int] | DataError], side: int) -> list[Tensor] | DataError:
    """Images (n, 3, side, side) and labels (n,) of a batch, none of both too, or the first error among them."""
    if not samples:
        return [torch.zeros(0, 3, side, side), torch.zeros(0, dtype=torch.long)]
    return first_error(samples) or default_collate(samples)


def first_error(samples: Iterable[Any]) -> DataError | None:
    """The first sample that could not be read, if there is one."""
    return next((sample for sample in samples if isinstance(sample, DataError)), None)
