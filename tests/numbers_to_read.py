"""A data set of numbers for tests of workers: few imports, since a spawned worker repeats them."""

import torch
from torch.utils.data import Dataset, get_worker_info

KEYS = [[3 * i, 3 * i + 1] for i in range(8)]
EXPECTED = [float(sum(key)) for key in KEYS]


class Numbers(Dataset):
    """Tensors of their own number. In a worker, ``fault`` happens at one number, every time or once."""

    def __init__(self, fault=None, at=12, once=None):
        self.fault, self.at, self.once = fault, at, once

    def __getitem__(self, number):
        if number == self.at and self.fault and get_worker_info() is not None:
            if self.once is None:
                self.fault()
            elif not self.once.exists():
                self.once.touch()
                self.fault()
        return torch.tensor([float(number)])


def total(samples):
    """The sum of the samples of a batch, as its only tensor."""
    return [torch.stack(samples).sum(0)]
