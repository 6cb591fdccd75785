"""The splits of a run, seeded and stratified, and the loaders that show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from data.decoding import DataError
from data.images import Images
from data.loaders import Loader, make_loader
from data.presets import Preset


def split_indices(labels: Tensor, fraction: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the rest and of those held out, sorted, disjoint, together all of them.

    ``labels``: (n,) class indices. Of each class ``fraction`` is held out, rounded, and at least one image on
    each side where the class has two or more; a class with one image stays in the rest.
    """
    generator = torch.Generator().manual_seed(seed)  # one for all classes, in the order of their indices
    rest, held_out = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)  # at least one on each side
        held_out.append(members[:count])
        rest.append(members[count:])
    return torch.cat(rest).sort().values, torch.cat(held_out).sort().values


def make_search_loaders(
    train: Images, val: Images, preset: Preset, *, reward_fraction: float, calibrate: bool, **options
) -> dict[str, Loader]:
    """The loaders of a search by stream: ``weights`` and ``rewards``, two disjoint parts of ``train``, and ``valid``.

    All are shuffled, since batch statistics need mixed classes. ``calibrate``: adds ``calibration``, the images of
    ``weights`` as evaluation shows them. Raises DataError where nothing is left for rewards.
    """
    shared, reward = split_indices(train.labels, reward_fraction, seed=options["seed"])
    if not len(reward):
        raise DataError("no class has two training images: nothing is left for rewards")
    parts = {"weights": (train.subset(shared), True), "rewards": (train.subset(reward), False), "valid": (val, False)}
    if calibrate:
        parts["calibration"] = (parts["weights"][0], False)
    return {
        stream: make_loader(images, preset, stream=stream, augment=augment, shuffle=True, **options)
        for stream, (images, augment) in parts.items()
    }


def make_retrain_loaders(
    train: Images,
    val: Images,
    preset: Preset,
    *,
    holdout: float,
    rank: int,
    world_size: int,
    augmentation: Mapping[str, Any],
    **options,
) -> dict[str, Loader]:
    """``train``, augmented and shuffled; ``valid``, on which the epoch is chosen; ``test``, all of ``val``.

    ``holdout``: share of ``train`` that ``valid`` takes; with 0 it is ``val``. Each process reads ``test`` whole.
    Raises DataError where nothing is left to choose on.
    """
    valid = val
    if holdout:
        rest, held_out = split_indices(train.labels, holdout, seed=options["seed"])
        if not len(held_out):
            raise DataError(f"--holdout {holdout} leaves no image of {len(train)} to choose on")
        train, valid = train.subset(rest), train.subset(held_out)
    world = {"rank": rank, "world_size": world_size}
    plain = {"augment": False, "shuffle": False, **options}
    moved = {"augment": True, "shuffle": True, **augmentation, **options}
    return {
        "train": make_loader(train, preset, stream="train", **world, **moved),
        "valid": make_loader(valid, preset, stream="valid", **world, **plain),
        "test": make_loader(val, preset, stream="test", rank=0, world_size=1, **plain),
    }
