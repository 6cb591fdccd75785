"""Learned and random augmentation policies, by torchvision, and random erasing (arXiv 1708.04896)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2


def _autoaugment(photographs: bool) -> v2.Transform:
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET if photographs else v2.AutoAugmentPolicy.CIFAR10)


# By name, what makes a policy, told whether the images are large ones.
POLICIES: dict[str, Callable[[bool], v2.Transform | None]] = {
    "none": lambda _photographs: None,
    "autoaugment": _autoaugment,
    "randaugment": lambda _photographs: v2.RandAugment(),
    "trivialaugment": lambda _photographs: v2.TrivialAugmentWide(),
}


def make_policy(name: str, *, photographs: bool) -> v2.Transform | None:
    """uint8 (3, S, S) -> the same, one random choice an image; None for ``none``."""
    if name not in POLICIES:
        raise ValueError(f"augment {name!r} is none of {', '.join(POLICIES)}")
    return POLICIES[name](photographs)


def each(transform: v2.Transform, images: Tensor, seeds: Tensor) -> Tensor:
    """The transform of every image (n, ...), each with its own seed (n,), so that it depends on nothing else."""
    if not len(images):
        return images
    changed = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images, seeds.tolist(), strict=True):
            torch.random.default_generator.manual_seed(seed)
            changed.append(transform(image))
    return torch.stack(changed)
