"""How images are divided: into the splits of a run, seeded and stratified, and into batches of about one size."""

from __future__ import annotations

import torch
from torch import Tensor

# What messages call the images of a loader, by the name of the stream that it draws from.
SPLITS = {
    "train": "train/",
    "weights": "train/ without the reward part",
    "calibration": "train/ without the reward part",
    "rewards": "the reward part of train/",
    "valid": "val/",
    "test": "val/",
}


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
