"""Heads for pixels and boxes: what they read, what they give, what they cost, and what a supernet passes on."""

import pytest
import torch

from models.cost import network_cost
from models.dense_heads import NECK, nearest
from models.network import Network
from models.spec import NetworkSpec, SizeError
from models.supernet import SuperNet
from ops.genotype import Genotype

GENOTYPE = Genotype.widest(2)
SHAPES = [("quarter", (1, 1)), ("quarter_blur", (0, 1, 0)), ("full", (1,)), ("quarter", (1,))]


def shaped(stem, blocks, head):
    return NetworkSpec(blocks, 8, 5, stem, head=head)


@pytest.mark.parametrize("head", ["segment", "detect"])
@pytest.mark.parametrize(("stem", "blocks"), SHAPES)
def test_the_cost_is_that_of_the_network_head_included(stem, blocks, head):
    spec = shaped(stem, blocks, head)
    network, cost = Network.of(GENOTYPE, spec), network_cost(GENOTYPE, spec, 32)
    assert (cost.parameters, cost.macs) == (network.num_parameters, network.macs(32))
    assert not network.aux_heads, "whatever the spec says of them"


@pytest.mark.parametrize(
    ("stem", "blocks", "strides"), [(*s, n) for s, n in zip(SHAPES, [(8, 16), (8, 16), (1, 2), (4, 8)], strict=True)]
)
def test_every_pixel_gets_scores_from_the_maps_nearest_to_strides_8_and_16(stem, blocks, strides):
    network = Network.of(GENOTYPE, shaped(stem, blocks, "segment")).eval()
    assert (network.head.low, network.head.high) == strides
    images = torch.randn(2, 3, 32, 32)
    assert network(images)[0].shape == (2, 5, 32, 32)
    assert network(images[:0])[0].shape == (0, 5, 32, 32)


def test_of_strides_at_equal_distance_the_finer_one_is_nearest():
    assert [nearest(8, {4: 1, 16: 1}), nearest(8, {8: 1, 16: 1}), nearest(16, {1: 1, 2: 1})] == [4, 8, 2]


@pytest.mark.parametrize(("stem", "blocks", "strides"), [("quarter", (1, 1), [8, 16]), ("full", (1,), [2])])
def test_boxes_are_asked_for_at_every_place_of_the_maps_from_stride_8_on(stem, blocks, strides):
    network = Network.of(GENOTYPE, shaped(stem, blocks, "detect")).eval()
    found = network(torch.randn(2, 3, 32, 32))[0]
    places = sum((32 // s) ** 2 for s in strides)
    assert found.levels == tuple((32 // s) ** 2 for s in strides)
    assert [tuple(x.shape) for x in found[:4]] == [(2, places, 5), (2, places, 4), (2, places, 1), (places, 4)]
    sides = (found.anchors[:, 2] - found.anchors[:, 0]).unique().tolist()
    assert sides == [float(s) for s in strides]
    assert network(torch.zeros(0, 3, 32, 32))[0].cls_logits.shape == (0, places, 5)


def test_the_head_for_boxes_starts_with_the_weights_of_torchvision():
    head = Network.of(GENOTYPE, shaped("quarter", (1, 1), "detect")).head.head
    logits = head.classification_head.cls_logits
    assert logits.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert logits.bias.sigmoid().unique().tolist() == pytest.approx([0.01], rel=1e-3)
    assert logits.in_channels == NECK


@pytest.mark.parametrize("head", ["segment", "detect"])
def test_a_network_inherits_the_head_of_its_supernet(head):
    torch.manual_seed(0)
    supernet = SuperNet.of(shaped("quarter", (1, 1), head))
    network = supernet.inherit(GENOTYPE).train()
    images = torch.randn(4, 3, 32, 32)
    ours, theirs = network(images)[0], supernet.train()(images, GENOTYPE)[0]
    for a, b in [(ours, theirs)] if head == "segment" else zip(ours[:3], theirs[:3], strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("head", ["segment", "detect"])
def test_images_that_the_strides_do_not_divide_are_refused(head):
    spec = shaped("quarter", (1, 1), head)
    spec.require_size(48)
    with pytest.raises(SizeError, match="no multiple of 16"):
        spec.require_size(40)
    shaped("quarter", (1, 1), "classify").require_size(40)
