"""Batches of images with masks or boxes, in the order and with the draws of any other loader."""

from __future__ import annotations

from functools import partial

from data.dense.transforms import Samples, collate_boxes, collate_masks, evaluation_transform, training_transform
from data.images import DataError
from data.loaders import LargeImageLoader
from data.workers import Batches


class DenseLoader(LargeImageLoader):
    """The labels of a batch are class ids (n, S, S), 255 where none is asked for, or boxes (n, m, 5).

    A box is x1, y1, x2, y2 in pixels and its class; a class of -1 is no box, but fills up a batch.
    """

    def prepared(self, resolution_jitter: bool, policy: str, erasing: float) -> Batches:
        """Whole batches. Raises DataError for an augmentation that would move images alone."""
        if resolution_jitter or policy != "none" or erasing:
            raise DataError("--augment, --random_erasing and --resolution_jitter are for images without masks or boxes")
        with_boxes, side = not self.images.masks, self.preset.image_size
        if self.augment:
            transform = training_transform(self.preset, with_boxes=with_boxes)
        else:
            transform = evaluation_transform(self.preset)
        return Batches(
            Samples(self.images, transform), partial(collate_boxes if with_boxes else collate_masks, side=side)
        )
