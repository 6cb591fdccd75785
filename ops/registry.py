"""The tables of operations: name -> builder.

A new operation is a class or function in ops.primitives or ops.stacked, one line here, and its name in a space
(ops.space). How its lines look in a drawing is said in ops.draw.STYLES; without an entry there they are plain.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from ops import primitives
from ops.stacked import conv, conv_7x1_1x7, dil_conv, pool, row_and_column, sep_conv, skip

# Of our own space: by width, width of the output, stride and the name of the anti-aliasing.
OPERATIONS: dict[str, Callable[[int, int, int, str], nn.Module]] = {
    "shuffle_3x3": partial(primitives.shuffle, 3),
    "shuffle_5x5": partial(primitives.shuffle, 5),
    "avg_pool_3x3": partial(primitives.PooledConv, "avg"),
    "max_pool_3x3": partial(primitives.PooledConv, "max"),
    "conv_1x1": primitives.conv_1x1,
}

# Of the spaces that stack cells: by channels, stride, and whether batch norms scale and shift.
STACKED: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "skip_connect": skip,
    "identity": partial(skip, rectified=False),
    "sep_conv_3x3": partial(sep_conv, 3),
    "sep_conv_5x5": partial(sep_conv, 5),
    "sep_conv_7x7": partial(sep_conv, 7),
    "dil_conv_3x3": partial(dil_conv, 3),
    "dil_conv_5x5": partial(dil_conv, 5),
    "conv_7x1_1x7": conv_7x1_1x7,
    "conv_1x1": partial(conv, 1),
    "conv_3x3": partial(conv, 3),
    # The names that NAS-Bench-201 has for them.
    "nor_conv_1x1": partial(conv, 1),
    "nor_conv_3x3": partial(conv, 3),
    "conv_1x3_3x1": partial(row_and_column, 3),
    "conv_1x7_7x1": partial(row_and_column, 7),
    **{f"max_pool_{side}x{side}": partial(pool, False, side) for side in (2, 3, 5)},
    **{f"avg_pool_{side}x{side}": partial(pool, True, side) for side in (2, 3, 5)},
    # The published table of NAO holds three operations twice.
    "identity_again": partial(skip, rectified=False),
    "max_pool_3x3_again": partial(pool, False, 3),
    "avg_pool_3x3_again": partial(pool, True, 3),
}
