"""The gradients that are written by hand, against those that autograd finds for the plain formula."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ops.cpu_kernels import depthwise, mish, pooling, squeeze_excite
from ops.layers import DepthwiseConv2d, Mish, SqueezeExcite, average_pool, max_pool
from ops.layout import format_of

FORMATS = (torch.contiguous_format, torch.channels_last)


def same(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(y, wanted):
    """Of an uneven sum of the outputs."""
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape).contiguous(memory_format=format_of(y))
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), wanted)]


def images(*shape, memory_format=torch.channels_last, dtype=torch.float64):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return (3 * x).contiguous(memory_format=memory_format).requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("piece", [7, 64, 2**18])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (2, 6, 1, 1), (3, 1, 4, 4)])
def test_mish_has_the_values_and_slopes_of_torch(shape, piece, memory_format, monkeypatch):
    monkeypatch.setattr(mish, "PIECE", piece)
    x = images(*shape, memory_format=memory_format)
    y = Mish()(x)
    assert y.stride() == F.mish(x).stride()
    same(gradients(y, [x]), gradients(F.mish(x), [x]))
    with torch.no_grad():
        assert torch.equal(Mish()(x), y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mish_keeps_its_digits_in_the_tails(dtype):
    ends = torch.tensor([-80.0, -40, -20, -5, -1e-3, 0, 1e-3, 5, 20, 40, 90, 1e4], dtype=torch.float64)
    # x tanh(softplus(x)) in quotients that keep small results: tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2)
    e = ends.exp()
    expected = torch.where(ends > 20, ends, ends * e * (e + 2) / (e * (e + 2) + 2))
    found = Mish()(ends.to(dtype).view(1, 1, 1, -1)).flatten()
    torch.testing.assert_close(found.double(), expected, rtol=8 * torch.finfo(dtype).eps, atol=0)


def test_mish_passes_on_what_is_no_number():
    x = torch.tensor([float("nan"), 1.0]).view(1, 1, 1, 2).requires_grad_()
    y = Mish()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.isnan().flatten().tolist() == slope.isnan().flatten().tolist() == [True, False]


def test_mish_in_bfloat16_is_that_of_torch():
    x = images(2, 3, 4, 4, dtype=torch.bfloat16)
    assert torch.equal(Mish()(x), F.mish(x))


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_depthwise_gradients_in_three_parts_are_the_whole(side, monkeypatch):
    conv = DepthwiseConv2d(6, 5).double()
    x = images(2, 6, side, side)
    plain = gradients(nn.Conv2d.forward(conv, x), [x, conv.weight])
    monkeypatch.setattr(depthwise, "ENOUGH", 0)
    calls = []
    monkeypatch.setattr(
        depthwise, "_weight_gradient", lambda *a, whole=depthwise._weight_gradient: calls.append(1) or whole(*a)
    )
    same(gradients(conv(x), [x, conv.weight]), plain)
    assert calls or side == 1  # a map of one pixel has no memory format


def test_depthwise_leaves_other_convolutions_to_torch(monkeypatch):
    monkeypatch.setattr(depthwise, "ENOUGH", 0)
    monkeypatch.setattr(depthwise, "_weight_gradient", lambda *_: pytest.fail("not needed"))
    for conv in (DepthwiseConv2d(4, 3), DepthwiseConv2d(4, 5, 2)):
        conv(images(2, 4, 6, 6, dtype=torch.float32)).sum().backward()
    with torch.no_grad():
        DepthwiseConv2d(4, 5)(images(2, 4, 6, 6, dtype=torch.float32))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (2, 4, 1, 3), (3, 2, 8, 8)])
def test_pools_are_those_of_torch(shape, stride, memory_format, monkeypatch):
    monkeypatch.setattr(pooling, "ENOUGH", 0)
    x = images(*shape, memory_format=memory_format)
    plain = F.avg_pool2d(x, 3, stride, 1)
    same(gradients(average_pool(x, stride), [x]), gradients(plain, [x]))
    same(gradients(max_pool(x, stride), [x]), gradients(F.max_pool2d(x, 3, stride, 1), [x]))
    with torch.no_grad():
        assert torch.equal(max_pool(x, stride), F.max_pool2d(x, 3, stride, 1))
        unknown = x.masked_fill(x == x.max(), float("nan"))
        assert torch.equal(max_pool(unknown, stride).isnan(), F.max_pool2d(unknown, 3, stride, 1).isnan())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [(3, 32, 4, 5), (1, 8, 1, 1)])
@pytest.mark.parametrize("piece", [1, 1300, 2**18])
def test_squeeze_and_excitation_has_the_gradients_of_autograd(piece, shape, memory_format, monkeypatch):
    monkeypatch.setattr(squeeze_excite, "PIECE", piece)
    layer = SqueezeExcite(shape[1]).double()
    x = images(*shape, memory_format=memory_format)
    wanted = [x, layer.reduce.weight, layer.expand.weight]
    gate = layer.expand(F.relu(layer.reduce(x.mean(dim=(2, 3))))).sigmoid()
    plain = gradients(x * gate[:, :, None, None], wanted)
    same(gradients(layer(x), wanted), plain)
    with torch.no_grad():
        same([layer(x)], plain[:1])


@pytest.mark.parametrize("layer", [Mish(), DepthwiseConv2d(32, 5), SqueezeExcite(32)], ids=lambda x: type(x).__name__)
def test_autocast_gets_what_torch_gives(layer, monkeypatch):
    monkeypatch.setattr(depthwise, "ENOUGH", 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(images(2, 32, 4, 4, dtype=torch.float32))
    assert not type(y.grad_fn).__name__.startswith("_")
    y.float().sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mish_has_the_same_bits_with_and_without_gradients(dtype):
    torch.manual_seed(0)
    for x in (torch.randn(3, 6, 5, 7, dtype=dtype) * 20, torch.randn(64, 16, 17, 17, dtype=dtype)):
        for layout in (x, x.contiguous(memory_format=torch.channels_last), x[:, :3]):
            plain = layout.clone()
            with torch.no_grad():
                found = mish.mish(layout)
            assert torch.equal(found, mish.mish(layout.clone().requires_grad_()).detach())
            assert found.stride() == mish.mish(layout.clone().requires_grad_()).stride()
            assert torch.equal(layout, plain), "the input stays"
