"""A data set of numbers for tests of workers: few imports, since a spawned worker repeats them."""

import torch
from torch.utils.data import Dataset, get_worker_info

KEYS = [[3 * i, 3 * i + 1] for i in range(8)]
EXPECTED = [float(sum(key)) for key in KEYS]


class Numbers(Dataset):
    """Tensors of their own number. In a worker, ``fault`` happens at one number."""

    def __init__(self, fault=None):
        self.fault = fault

    def __getitem__(self, number):
        if number == 12 and self.fault and get_worker_info() is not None:
            self.fault()
        return torch.tensor([float(number)])


def total(samples):
    """The sum of the samples of a batch, as its only tensor."""
    return [torch.stack(samples).sum(0)]
