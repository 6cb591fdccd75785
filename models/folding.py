"""Batch norms of a trained network as part of its convolutions: the same function in fewer passes over its maps.

A norm that uses running statistics is one scale and one shift a channel. The convolution before it can take them on,
exactly but for rounding: also where a blur lies between the two, whose weights sum to one, and where a maximum does as
long as no scale is negative.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Net = TypeVar("Net", bound=nn.Module)


def folded(network: Net) -> Net:
    """A copy in evaluation mode, for evaluation alone: its state dict fits no other network."""
    # The network itself stays as it is: a training may go on with it.
    twin = deepcopy(network).eval().requires_grad_(False)
    for parent in list(twin.modules()):
        for first, second in list(_foldable(parent)):
            conv, norm = parent.get_submodule(first), parent.get_submodule(second)
            # In place of the pair, so that the order of the layers stays.
            setattr(parent, first, fuse_conv_bn_eval(conv, norm))
            setattr(parent, second, nn.Identity())
    return twin


def _foldable(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution in a module and of the norm that it can take on."""
    if isinstance(parent, nn.Sequential):
        # The last convolution that nothing but a blur has followed.
        before = None
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d):
                before = name
            elif before is not None and _is_fixed(layer):
                yield before, name
            elif not getattr(layer, "keeps_constants", False):
                before = None
    # A pool between the two: averages commute with any scale, a maximum with one that is not negative.
    elif hasattr(parent, "averages") and _is_fixed(parent.bn) and (parent.averages or _keeps_order(parent.bn)):
        yield "conv", "bn"


def _is_fixed(norm: nn.Module) -> bool:
    """Whether a layer is a norm of fixed statistics."""
    return isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None


def _keeps_order(norm: nn.BatchNorm2d) -> bool:
    """Whether a larger value stays the larger one."""
    return norm.weight is None or bool((norm.weight >= 0).all())
