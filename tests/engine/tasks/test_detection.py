"""FCOS without its layers gives what torchvision's own gives; average precision is what counting gives."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.fcos import FCOS

from engine.tasks import Loss, base
from engine.tasks.detection import Detection, DetectionMeter, average_precision
from engine.tasks.fcos import fcos_boxes, fcos_losses, true_boxes
from engine.tasks.segmentation import Segmentation
from models.dense_heads import NECK, Boxes, Detector
from models.heads import Features
from utils.system.errors import UsageError

SIDE, CLASSES = 64, 3


class Maps(nn.Module):
    """A backbone that gives the maps that it was told."""

    out_channels = NECK

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return self.maps


@pytest.fixture
def pair():
    """A head of ours on random maps, and a whole FCOS of torchvision that gets the same maps from its backbone."""
    torch.manual_seed(0)
    features = {4: torch.randn(2, 8, 16, 16), 8: torch.randn(2, 8, 8, 8), 16: torch.randn(2, 16, 4, 4)}
    ours = Detector({stride: x.shape[1] for stride, x in features.items()}, CLASSES)
    maps = ours.pyramid({str(s): features[s] for s in ours.strides})
    theirs = FCOS(
        Maps(maps),
        CLASSES,
        SIDE,
        SIDE,
        [0.0] * 3,
        [1.0] * 3,
        anchor_generator=ours.grid,
        head=ours.head,
        score_thresh=0.05,
    )
    return ours(Features(features[16], [], features)), theirs


ROWS = torch.tensor(
    [[[4.0, 6, 30, 28, 0], [20, 20, 60, 62, 2]], [[10, 3, 50, 40, 1], [-1, -1, -1, -1, -1]]]
)  # the last one fills up


def test_losses_are_those_of_torchvisions_fcos(pair):
    outputs, theirs = pair
    expected = theirs.train()(list(torch.rand(2, 3, SIDE, SIDE)), true_boxes(ROWS))
    totals, matched = fcos_losses(outputs, true_boxes(ROWS))
    assert matched > 1
    found = {name: total / matched for name, total in totals.items()}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert value > 0
        assert torch.allclose(found[key], value, rtol=1e-5), key
    total = Detection.search().loss(outputs, [], ROWS).mean
    assert torch.allclose(total, sum(expected.values()), rtol=1e-5)
    total.backward()


def test_boxes_are_those_of_torchvisions_fcos(pair):
    outputs, theirs = pair
    outputs = outputs._replace(cls_logits=outputs.cls_logits + 6)  # so that some are found
    theirs.head.classification_head.cls_logits.bias.data += 6
    with torch.no_grad():
        expected, found = theirs.eval()(list(torch.rand(2, 3, SIDE, SIDE))), fcos_boxes(outputs, SIDE)
    for own, other in zip(found, expected, strict=True):
        assert len(own["boxes"]) > 3
        for key in ("boxes", "scores", "labels"):
            assert torch.allclose(own[key], other[key], atol=1e-4), key


def test_an_image_without_a_box_is_background_and_a_process_without_an_image_counts_for_nothing(pair):
    outputs, _ = pair
    detection, none = Detection.search(), torch.full((2, 0, 5), -1.0)
    loss = detection.loss(outputs, [], none)
    assert loss.total > 0
    assert loss.count == 0
    meter = DetectionMeter(torch.device("cpu"))
    meter.update(loss, outputs, [], none)
    nobody = Boxes(*(x[:0] for x in outputs[:3]), *outputs[3:])
    meter.update(detection.validation_loss(nobody, none[:0]), nobody, [], none[:0])
    assert meter.read()["loss"] == pytest.approx(loss.total.item())


def test_the_fit_is_positive_and_in_the_order_of_minus_the_loss():
    fits = []
    for loss in (0.1, 1.0, 40.0):
        meter = DetectionMeter(torch.device("cpu"))
        meter.update(Loss(torch.tensor(3 * loss), torch.tensor(3.0)), None, [], ROWS)
        fits.append(meter.read()["fit"])
    assert fits == sorted(fits, reverse=True)
    assert min(fits) > 0


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def counted(true, found, label, least):
    """Average precision of a class at one IoU, at 101 recalls, by hand; None without a true box."""
    rows, total = [], 0
    for own, said in zip(true, found, strict=True):
        boxes = [b for b, i in zip(own["boxes"].tolist(), own["labels"].tolist(), strict=True) if i == label]
        total += len(boxes)
        left = list(range(len(boxes)))
        order = [i for i in said["scores"].argsort(descending=True, stable=True).tolist() if said["labels"][i] == label]
        for i in order:
            best = max(left, key=lambda j: overlap(said["boxes"][i].tolist(), boxes[j]), default=None)
            hit = best is not None and overlap(said["boxes"][i].tolist(), boxes[best]) >= least
            if hit:
                left.remove(best)
            rows.append((said["scores"][i].item(), hit))
    if not total:
        return None
    hits = np.cumsum([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
    precisions, recalls = hits / np.arange(1, len(hits) + 1), hits / total
    reached = [max(precisions[recalls >= r - 1e-12], default=0.0) for r in np.linspace(0, 1, 101)]
    return 100 * sum(reached) / 101


def random_boxes(generator, n):
    corners = torch.rand(n, 2, generator=generator) * 40
    return torch.cat([corners, corners + 4 + torch.rand(n, 2, generator=generator) * 20], 1)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_what_counting_gives(seed):
    pytest.importorskip("torchmetrics", reason="average precision needs torchmetrics")
    generator, true, found = torch.Generator().manual_seed(seed), [], []
    for _ in range(6):
        boxes, labels = random_boxes(generator, 4), torch.randint(2, (4,), generator=generator)
        true.append({"boxes": boxes, "labels": labels})
        near = boxes + torch.randn(4, 4, generator=generator) * 1.5
        said = torch.cat([near, random_boxes(generator, 3)])
        which = torch.cat([labels, torch.randint(3, (3,), generator=generator)])
        found.append({"boxes": said, "labels": which, "scores": torch.rand(7, generator=generator)})
    measured = average_precision(true, found, ["a", "b", "c"])
    assert measured["per_class"]["c"] == {"ap": None, "ap50": None, "ap75": None, "boxes": 0}
    for name, least in (("ap50", 0.5), ("ap75", 0.75)):
        expected = [counted(true, found, label, least) for label in (0, 1)]
        assert 0 < sum(expected) < 200
        assert measured[name] == pytest.approx(sum(expected) / 2, abs=1e-6)
        assert [measured["per_class"][c][name] for c in "ab"] == pytest.approx(expected, abs=1e-6)
    levels = [counted(true, found, label, least) for label in (0, 1) for least in np.linspace(0.5, 0.95, 10)]
    assert measured["ap"] == pytest.approx(sum(levels) / 20, abs=1e-6)


def test_a_network_that_finds_nothing_has_a_precision_of_zero():
    pytest.importorskip("torchmetrics", reason="average precision needs torchmetrics")
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}
    measured = average_precision([{"boxes": ROWS[0, :, :4], "labels": ROWS[0, :, 4].long()}], [none], ["a", "b", "c"])
    assert (measured["ap"], measured["per_class"]["b"]["ap"], measured["per_class"]["c"]["ap"]) == (0, None, 0)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs torchmetrics and pycocotools to measure"):
        Detection.require_packages()
    Segmentation.require_packages()
