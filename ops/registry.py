"""The one table of operations: name -> builder.

A new operation is a class in ops.primitives, one line here, and its name in a space (ops.space).
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from ops import primitives

Builder = Callable[[int, int, int, str], nn.Module]

OPERATIONS: dict[str, Builder] = {
    "shuffle_3x3": partial(primitives.shuffle, 3),
    "shuffle_5x5": partial(primitives.shuffle, 5),
    "avg_pool_3x3": partial(primitives.pool, "avg"),
    "max_pool_3x3": partial(primitives.pool, "max"),
    "conv_1x1": primitives.conv_1x1,
}


def build_operation(name: str, width: int, out_width: int, *, stride: int, antialias: str) -> nn.Module:
    """The module of an operation: (N, width, H, W) -> (N, out_width, ...). Stride 1 keeps the width."""
    return OPERATIONS[name](width, out_width, stride, antialias)
