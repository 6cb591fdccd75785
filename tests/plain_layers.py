"""Layers of cell stacks written out as functions of their weights, for tests to compare with: nothing is ours here."""

import torch
from torch.nn import functional as F


def of(weights, prefix) -> list[torch.Tensor]:
    """The weights below a key, in the order in which they run."""
    return [value for key, value in weights.items() if key.startswith(f"{prefix}.")]


def batch_norm(x, scale, shift):
    """Normalise by the statistics of the batch."""
    return F.batch_norm(x, None, None, scale, shift, training=True)


def halved(x, even, odd, scale, shift):
    """The factorized reduction as two strided reads of the map, the second with a border of zeros."""
    shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    return batch_norm(torch.cat((F.conv2d(x, even, stride=2), F.conv2d(shifted, odd, stride=2)), 1), scale, shift)


def separable(x, *layers, stride=1):
    """Twice ReLU, depthwise, 1x1, batch norm, from the eight weights in the order in which they run."""
    for depthwise, point, scale, shift in (layers[:4], layers[4:]):
        x = F.conv2d(F.relu(x), depthwise, None, stride, depthwise.shape[-1] // 2, groups=x.shape[1])
        stride = 1
        x = batch_norm(F.conv2d(x, point), scale, shift)
    return x


def projected(x, point, scale, shift):
    """ReLU, a 1x1 convolution, batch norm."""
    return batch_norm(F.conv2d(F.relu(x), point), scale, shift)


def searched_operation(op, x, layers):
    """An operation of the ENAS space at stride 1, by number."""
    if op < 2:
        return separable(x, *layers)
    return (F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), F.max_pool2d(x, 3, 1, 1), x)[op - 2]
