"""Operations that keep the channels: shapes, and which batch norms have parameters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ops.layers import DilatedDepthwiseConv2d
from ops.registry import STACKED
from ops.stacked import HalvingPair, HalvingPointwise


def assert_same(given: torch.Tensor, wanted: torch.Tensor, *inputs: torch.Tensor) -> None:
    """Assert that two results and their gradients are the same but for rounding."""
    torch.testing.assert_close(given, wanted, rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(wanted)
    pairs = zip(*(torch.autograd.grad(y, inputs, gradient) for y in (given, wanted)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", STACKED)
def test_every_operation_divides_the_side_by_its_stride_rounding_up(name):
    for stride in (1, 2):
        operation = STACKED[name](4, stride, True)
        for size in (1, 2, 7, 8):
            shape = operation(torch.randn(2, 4, size, size + 2)).shape
            assert shape == (2, 4, -(-size // stride), -(-(size + 2) // stride)), (stride, size)


@pytest.mark.parametrize("name", STACKED)
def test_what_has_a_batch_norm_is_a_row_of_layers_that_ends_with_it(name):
    for stride in (1, 2):
        operation = STACKED[name](4, stride, False)
        norms = [layer for layer in operation.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert all(norm.weight is None for norm in norms)
        assert not norms or operation[-1] is norms[-1]


def test_the_two_grids_of_a_reduction_read_every_fourth_pixel_each():
    pair = HalvingPair(2, 2)
    torch.nn.init.ones_(pair.even.weight)
    torch.nn.init.ones_(pair.odd.weight)
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 2, 4, 4)
    given = pair(x)[0] / 2
    assert given[0].tolist() == [[0, 2], [8, 10]]
    assert given[1].tolist() == [[5, 7], [13, 15]]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [8, 7, 1])
def test_picking_pixels_before_a_convolution_is_a_stride_with_its_gradients(size, memory_format):
    layer = HalvingPointwise(20, 6).double()  # so many channels are safe at a stride too
    x = torch.randn(2, 20, size, size + 1).double().to(memory_format=memory_format).requires_grad_()
    assert_same(layer(x), F.conv2d(x, layer.weight, None, 2), x, layer.weight)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_dilated_convolution_is_that_of_torch_with_its_gradients(kernel, stride, size, memory_format):
    layer = DilatedDepthwiseConv2d(3, kernel, stride).double()
    x = torch.randn(2, 3, size, size + 2).double().to(memory_format=memory_format).requires_grad_()
    assert_same(layer(x), F.conv2d(x, layer.weight, None, stride, kernel - 1, 2, 3), x, layer.weight)
