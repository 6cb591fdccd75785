"""The task of finding boxes, by the rules of torchvision's FCOS (docs/tasks.md, section 21)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes

from engine.tasks.base import Loss, Meter, device_of, likelihood
from engine.tasks.dense import DenseTask
from engine.tasks.fcos import Boxes, fcos_boxes, fcos_losses, true_boxes
from engine.tasks.pictures import (
    PREDICTIONS,
    SHOWN,
    colours,
    left_out,
    pixels_of,
    prediction_path,
    require_pictures,
    rows_figure,
)
from utils.reports.log import write_json
from utils.system.terminal import show, tell

DRAWN = 0.5  # the least score of a box in a picture


class DetectionMeter(Meter):
    """The mean loss, and the ``fit``, 100 * exp(-loss): in the order of minus the loss, but positive."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, 3)

    @torch.no_grad()
    def update(self, loss: Loss, outputs: Any, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its loss and boxes (n, m, 5)."""
        images = torch.full_like(self.sums[0], len(targets))
        self.sums += torch.stack([loss.total.detach(), loss.count, images])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """``loss`` and ``fit``."""
        loss = Loss(*sums[:2]).mean.item()
        return {"loss": loss, "fit": likelihood(loss)}


class Detection(DenseTask):
    """Boxes and their classes. Targets are rows (n, m, 5): x1, y1, x2, y2 in pixels, and class, or -1 for a filler."""

    name = retrained_as = "detect"
    head = "detect"
    targets = "boxes"
    measure = measure_title = "fit"
    final_measure = "ap50"  # which takes too long to be the measure of an epoch
    result_measures = ("ap", "ap50", "ap75")
    packages = ("torchmetrics", "pycocotools")
    exportable = False  # boxes are chosen by rules outside of the network

    def loss(self, outputs: Any, aux: Sequence[Tensor], targets: Tensor) -> Loss:
        """Focal loss, 1 - GIoU and the cross entropy of the centreness, a mean over matched places.

        ``outputs``: as models.dense_heads.Boxes. Nothing is smoothed, and there are no auxiliary heads.
        """
        if not len(targets):  # a process without an image
            return Loss(*outputs.cls_logits.new_zeros(2))
        losses, matched = fcos_losses(outputs, true_boxes(targets))
        return Loss(sum(losses.values()), matched)

    def validation_loss(self, outputs: Any, targets: Tensor) -> Loss:
        """The same."""
        return self.loss(outputs, (), targets)

    def meter(self, device: torch.device, num_aux: int = 0) -> DetectionMeter:
        """Loss and fit."""
        return DetectionMeter(device)

    @torch.inference_mode()
    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Average precision over the whole loader, by class too, in percent; loss and fit."""
        network.eval()
        true, predicted, meter = [], [], self.meter(device_of(network))
        loader.set_epoch(0)
        for batch in loader:
            outputs, _ = network(batch.images)
            meter.update(self.validation_loss(outputs, batch.labels), outputs, (), batch.labels)
            true += true_boxes(batch.labels.cpu())
            predicted += fcos_boxes(outputs, batch.images.shape[-1])
        return {"images": len(true), **meter.read(), **average_precision(true, predicted, names)}

    @torch.inference_mode()
    def picture(self, network: nn.Module, batch: Any, preset: Any, names: Sequence[str]) -> Any:
        """Each image with the true boxes, and with those that the network finds."""
        images, true = batch.images[:SHOWN], true_boxes(batch.labels[:SHOWN].cpu())
        predicted = [likely(boxes) for boxes in fcos_boxes(network.eval()(images)[0], images.shape[-1])]
        rows = [
            [drawn(pixels_of(image, preset), boxes) for boxes in pair]
            for image, *pair in zip(images, true, predicted, strict=True)
        ]
        present = sorted({label for boxes in (*true, *predicted) for label in boxes["labels"].tolist()})
        legend = [(names[i], colours()[i + 1]) for i in present]
        return rows_figure(rows, ["truth", f"prediction (score from {DRAWN})"], legend)

    @torch.inference_mode()
    def predict(
        self, network: nn.Module, pictures: Any, names: Sequence[str], *, preset: Any, batch_size: int
    ) -> Tensor:
        """Write the boxes of every picture as JSON, in its own pixels, and the picture with them drawn on it."""
        first: list[Tensor] = []
        document: dict[str, Any] = {}
        for files, images, originals in pictures.whole_batches(preset, batch_size, device_of(network)):
            first[:] = first or [images]
            side = images.shape[-1]
            predicted = fcos_boxes(network.eval()(images)[0], side)
            for file, boxes, original in zip(files, predicted, originals, strict=True):
                height, width = original.shape[:2]
                boxes["boxes"] = boxes["boxes"] * torch.tensor([width, height, width, height]) / side
                rows = plain(boxes, names)
                document[show(file)] = {"width": width, "height": height, "boxes": rows}
                picture = drawn(torch.from_numpy(original), likely(boxes), names)
                Image.fromarray(picture.contiguous().numpy()).save(prediction_path(file, ".png"))
                best = ", ".join(f"{show(row['class'])} {row['score']:.4f}" for row in rows[:5])
                tell(f"{show(file)}: {best or 'nothing found'}")
        require_pictures(first, pictures)
        path = prediction_path("boxes", ".json")
        write_json(path, document)
        drawings = f"pictures with those of score {DRAWN} or more to {PREDICTIONS}/"
        tell(f"boxes written to {path}, {drawings}{left_out(pictures)}")
        return first[0]


def likely(boxes: Boxes) -> Boxes:
    """The boxes with a score of ``DRAWN`` or more."""
    kept = boxes["scores"] >= DRAWN
    return {name: values[kept] for name, values in boxes.items()}


def drawn(picture: Tensor, boxes: Boxes, names: Sequence[str] | None = None) -> Tensor:
    """A picture, uint8 (H, W, 3), with boxes: the same shape.

    ``names``: of the classes, written beside the boxes with their scores, where colours alone do not tell them apart.
    """
    labels = boxes["labels"].tolist()
    if not labels:
        return picture
    texts = None
    if names is not None:
        scored = zip(labels, boxes["scores"].tolist(), strict=True)
        texts = [f"{names[i].encode('ascii', 'replace').decode()} {score:.2f}" for i, score in scored]
    shades = [tuple(colours()[i + 1].tolist()) for i in labels]  # the first is black, as the background
    picture = picture.permute(2, 0, 1).contiguous()  # (3, H, W)
    return draw_bounding_boxes(picture, boxes["boxes"], texts, shades).permute(1, 2, 0)


def plain(boxes: Boxes, names: Sequence[str]) -> list[dict[str, Any]]:
    """Boxes with scores as values for JSON, the best first."""
    rows = zip(boxes["boxes"].tolist(), boxes["labels"].tolist(), boxes["scores"].tolist(), strict=True)
    return [{"box": [round(v, 2) for v in box], "class": names[i], "score": round(s, 6)} for box, i, s in rows]


def average_precision(true: Sequence[Boxes], predicted: Sequence[Boxes], names: Sequence[str]) -> dict[str, Any]:
    """``ap`` over IoU from 0.5 to 0.95, ``ap50``, ``ap75``, and those of each class, in percent; boxes of each image.

    By COCO's rules, from torchmetrics and pycocotools. A class without a true box has none, and the means leave it out.
    """
    from torchmetrics.detection import MeanAveragePrecision  # which only this task needs

    # One process measures, while the others do not wait to be asked for their part.
    judge = MeanAveragePrecision(extended_summary=True, sync_on_compute=False)
    judge.warn_on_many_detections = False
    with warnings.catch_warnings():  # of numpy, about how pycocotools calls it
        warnings.simplefilter("ignore")
        judge.update(list(predicted), list(true))
        results = judge.compute()
    labels = torch.cat([boxes["labels"] for boxes in true])
    counts = labels.bincount(minlength=len(names))  # (K,)
    precision = torch.zeros(10, 101, len(names), dtype=torch.float64)  # (IoUs, recalls, K); -1: no true box
    precision[:, :, counts == 0] = -1
    if "precision" in results:  # which holds the classes that occur alone
        occurring = torch.cat([labels, *(boxes["labels"] for boxes in predicted)]).unique()
        precision[:, :, occurring] = results["precision"][:, :, :, 0, -1].double()  # of all sizes, 100 boxes an image
    by_class = zip(names, precision.split(1, dim=2), counts.tolist(), strict=True)
    return {**_means(precision), "per_class": {name: _means(part) | {"boxes": n} for name, part, n in by_class}}


def _means(precision: Tensor) -> dict[str, float | None]:
    """AP over all IoUs, at 0.5 and at 0.75, of precisions (IoUs, recalls, K)."""

    def mean(values: Tensor) -> float | None:
        values = values[values >= 0]
        return 100 * values.mean().item() if len(values) else None

    return {"ap": mean(precision), "ap50": mean(precision[0]), "ap75": mean(precision[5])}
