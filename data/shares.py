"""How the images of a part of the data are cut into batches, and what to do about a part that is too small."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """A part of the data as a person knows it, and what gives it more images."""

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
    """Sizes of the batches of all processes together, which sum to n and differ by one at most, larger ones first.

    ceil(n / (batch_size * processes)) of them, but none with a single image unless ``n`` or both others are 1 (in
    pairs, an odd number ends in one of three), nor with fewer images than processes unless ``n`` is smaller.
    """
    together = batch_size * processes
    fewest = max(processes, min(2, together))
    count = -(-n // together)
    if n >= fewest:
        count = min(count, n // fewest)
    return [n // count + (i < n % count) for i in range(count)]
