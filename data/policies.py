"""Learned and random augmentation policies by torchvision, image by image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2


def _autoaugment(large: bool) -> v2.Transform:
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET if large else v2.AutoAugmentPolicy.CIFAR10)


# By name, what makes a policy, given whether the images are large ones.
POLICIES: dict[str, Callable[[bool], v2.Transform | None]] = {
    "none": lambda _large: None,
    "autoaugment": _autoaugment,
    "randaugment": lambda _large: v2.RandAugment(),
    "trivialaugment": lambda _large: v2.TrivialAugmentWide(),
}


def make_policy(name: str, *, large: bool) -> v2.Transform | None:
    """A transform of one image, uint8 (3, S, S) -> the same shape, with a random choice in it; None for ``none``.

    ``large``: whether the images are large, for which AutoAugment has a policy of its own. Raises ValueError for a
    name that is not in POLICIES.
    """
    if name not in POLICIES:
        raise ValueError(f"augment {name!r} is none of {', '.join(POLICIES)}")
    return POLICIES[name](large)


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
