"""How the images of a part of the data are cut into batches, and what to do about a part that is too small."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """What a message calls a part of the data, and which change would give it more images."""

    name: str
    remedy: str


# By the name of the stream that a loader draws from.
PARTS = {
    "train": Part("train/", "more images there"),
    "weights": Part("train/ without the reward part", "more images there, a smaller --reward_fraction"),
    "calibration": Part("train/ without the reward part", "more images there, a smaller --reward_fraction"),
    "rewards": Part("the reward part of train/", "more images there, a larger --reward_fraction"),
    "valid": Part("val/", "more images there"),
    "test": Part("val/", "more images there"),
}
LESS_HOLDOUT = Part("train/ without the holdout", "more images there, a smaller --holdout")
HOLDOUT = Part("the holdout of train/", "more images there, a larger --holdout")


def balanced_sizes(n: int, batch_size: int, processes: int = 1) -> list[int]:
    """The sizes of the batches into which n images are cut, for all processes together; they sum to n.

    They differ by one at most, larger ones first. There are ceil(n / (batch_size * processes)) of them, or fewer where
    a batch would have a single image (so at a batch size of 2 an odd image joins a pair) or fewer images than there
    are processes. Such a batch is left only where n itself is so small, or batch_size * processes is 1.
    """
    together = batch_size * processes
    fewest = max(processes, min(2, together))
    count = -(-n // together)
    if n >= fewest:
        count = min(count, n // fewest)
    return [n // count + (i < n % count) for i in range(count)]
