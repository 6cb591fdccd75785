"""A task without labels: how images are turned (docs/tasks.md, section 20)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from data.loaders import Batch, Loader
from data.mixing import WrappedLoader
from data.presets import Preset
from engine.tasks.classification import Classification

VIEWS = 4  # rotations of an image that a network is shown


class Rotation(Classification):
    """Which of its four rotations an image is in: a question whose answer is known without labels."""

    name = "rotation"
    retrained_as = Classification.name
    uses_labels = False

    @classmethod
    def wrap(cls, loader: Loader) -> RotationLoader:
        """The loader with rotations and their numbers in place of images and labels."""
        return RotationLoader(loader)

    @classmethod
    def changed_defaults(cls, values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
        """Half the batch and half the learning rate, since a batch grows fourfold."""
        halved = {"batch_size": values["batch_size"] // 2, "child_lr_max": values["child_lr_max"] / 2}
        return {flag: value for flag, value in halved.items() if flag not in given}

    @classmethod
    def warning(cls, data: str, preset: Preset) -> str | None:
        """That nobody could tell how signs were turned: what has no mirror image is writing."""
        if preset.flip:
            return None
        return f"warning: --task {cls.name} asks of {data} what cannot be answered where signs look alike when turned"

    def outputs(self, classes: int) -> int:
        """One for each rotation, whatever the data."""
        return VIEWS


def rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, 3, S, S) in their four rotations (4 n, 3, S, S): all as they are, all turned once to the left, ...

    The answers (4 n,) say how many times each was turned.
    """
    turned = torch.cat([images.rot90(k, (2, 3)) for k in range(VIEWS)])  # (4 n, 3, S, S)
    return turned, torch.arange(VIEWS, device=images.device).repeat_interleave(len(images))


class RotationLoader(WrappedLoader):
    """The batches of a loader, each image in its four rotations; sizes are those of the loader."""

    views = VIEWS

    @property
    def smallest_batch(self) -> int:
        """The fewest rotations that a process gets in one batch."""
        return VIEWS * self.loader.smallest_batch

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            yield Batch(*rotations(batch.images))
