"""Mean IoU against counting pixel by pixel, in one batch or many, and a loss that leaves ignored pixels out."""

import pytest
import torch
from torch.nn import functional as F

from data.loaders import Batch
from engine.tasks import Loss
from engine.tasks.segmentation import Segmentation, SegmentationMeter, pixel_loss

CPU = torch.device("cpu")


def made_up(seed, n=5, k=4, side=6):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, k, side, side, generator=generator)
    ids = torch.randint(k - 1, (n, side, side), generator=generator)  # the last class is never true
    ids[torch.rand(n, side, side, generator=generator) < 0.2] = 255
    return scores, ids


def counted(scores, ids):
    """Mean IoU in percent, by sets of pixels; and the share of pixels that are right."""
    said, places, k = scores.argmax(1), [], scores.shape[1]
    n, h, w = ids.shape
    places = [(i, y, x) for i in range(n) for y in range(h) for x in range(w) if ids[i, y, x] != 255]
    found = []
    for c in range(k):
        true = {p for p in places if ids[p] == c}
        ours = {p for p in places if said[p] == c}
        if true | ours:
            found.append(len(true & ours) / len(true | ours))
    return 100 * sum(found) / len(found), 100 * sum(int(said[p] == ids[p]) for p in places) / len(places)


@pytest.mark.parametrize("seed", range(3))
def test_mean_iou_is_what_counting_gives(seed):
    scores, ids = made_up(seed)
    meter, (miou, pixels) = SegmentationMeter(CPU), counted(scores, ids)
    meter.update(pixel_loss(scores, ids), scores, [], ids)
    assert meter.read()["miou"] == pytest.approx(miou, abs=1e-9)
    assert meter.read()["pixels"] == pytest.approx(pixels, abs=1e-9)


def test_a_class_that_never_occurs_is_left_out_of_the_mean():
    scores = torch.full((1, 9, 2, 2), -1.0)
    scores[:, 3] = 1
    meter = SegmentationMeter(CPU)
    meter.update(Loss(torch.tensor(0.0), torch.tensor(4.0)), scores, [], torch.tensor([[[3, 3], [3, 5]]]))
    assert meter.read()["miou"] == pytest.approx(100 * (3 / 4 + 0) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_pixels_that_count(smoothing):
    scores, ids = made_up(3)
    flat = scores.permute(0, 2, 3, 1)[ids != 255]
    expected = F.cross_entropy(flat, ids[ids != 255], label_smoothing=smoothing)
    assert pixel_loss(scores, ids, smoothing).mean == pytest.approx(expected.item(), rel=1e-5)
    scores.requires_grad_(True)
    loss = Segmentation.retrain(smoothing).loss(scores, [], torch.full_like(ids, 255)).mean
    loss.backward()
    assert loss == 0
    assert not scores.grad.any(), "an image without a pixel that counts teaches nothing"


def test_the_measures_of_a_trained_network_agree_with_the_meter_and_with_the_confusion():
    scores, ids = made_up(5)

    class Replayed(torch.nn.Linear):
        def forward(self, images):
            return scores[images.flatten().long()], []

    class Loader:
        def set_epoch(self, epoch):
            pass

        def __iter__(self):
            for part in torch.arange(5).split(2):
                yield Batch(part[:, None].float(), ids[part])

    found = Segmentation().measures(Replayed(1, 1), Loader(), list("abcd"), torch.Generator())
    miou, pixels = counted(scores, ids)
    assert found["miou"] == pytest.approx(miou)
    assert found["pixel_accuracy"] == pytest.approx(pixels)
    assert found["loss"] == pytest.approx(pixel_loss(scores, ids).mean.item(), rel=1e-5)
    assert sum(map(sum, found["confusion"])) == (ids != 255).sum()
    assert found["images"] == 5
