"""Splits of images, seeded and stratified."""

from __future__ import annotations

import torch
from torch import Tensor


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
