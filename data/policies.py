"""Learned and random augmentation policies, by torchvision, and random erasing (arXiv 1708.04896)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

AUGMENTS = ("none", "autoaugment", "randaugment", "trivialaugment")


def make_policy(name: str, *, large: bool) -> v2.Transform | None:
    """A transform of one image, uint8 (3, S, S) -> the same shape, with a random choice in it; None for ``none``.

    ``large``: whether the images are large, for which AutoAugment has a policy of its own. Raises ValueError for a
    name that is not in AUGMENTS.
    """
    if name == "none":
        return None
    if name == "autoaugment":
        kind = v2.AutoAugmentPolicy.IMAGENET if large else v2.AutoAugmentPolicy.CIFAR10
        return v2.AutoAugment(kind)
    if name == "randaugment":
        return v2.RandAugment()
    if name == "trivialaugment":
        return v2.TrivialAugmentWide()
    raise ValueError(f"augment {name!r} is none of {', '.join(AUGMENTS)}")


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
