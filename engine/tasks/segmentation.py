"""The task of giving every pixel a class (docs/tasks.md, section 21)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from data.dense.masks import IGNORED  # pixels of no class, which count for nothing
from engine.tasks.base import Loss, Meter, device_of
from engine.tasks.dense import DenseTask
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
from utils.system.terminal import show, tell

IDS = 255  # classes that a mask has room for


def pixel_loss(scores: Tensor, ids: Tensor, smoothing: float = 0.0) -> Loss:
    """The cross entropy of scores (n, K, H, W), a mean over the pixels of ids (n, H, W) that count."""
    # Pixel by pixel as one long batch, which every device can do the same way twice.
    flat = scores.permute(0, 2, 3, 1).reshape(-1, scores.shape[1])  # (n * H * W, K)
    total = F.cross_entropy(flat, ids.flatten(), ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
    return Loss(total, (ids != IGNORED).sum().to(total.dtype))


def mean_iou(hits: Tensor, true: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and each class's intersection over union, from the diagonal, the row and the column sums of a confusion.

    (K,) each. The mean is over classes that occur, in the truth or in the prediction; the rest are nan.
    """
    iou = hits.double() / (true + predicted - hits)  # (K,), 0 / 0 where a class does not occur
    return iou.nanmean(), iou


class SegmentationMeter(Meter):
    """Loss, mean IoU and pixel accuracy, in percent but for the loss.

    Of the confusion matrix it keeps what these are made of: the diagonal, the row sums and the column sums.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, 3 + 3 * IDS)

    @torch.no_grad()
    def update(self, loss: Loss, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its loss, scores (n, K, H, W) and class ids (n, H, W)."""
        predicted, true = outputs.argmax(1).flatten(), targets.flatten()  # (n * H * W,) each
        counted = (true != IGNORED).to(self.sums.dtype)
        counts = [(true, counted * (predicted == true)), (true, counted), (predicted, counted)]
        parts = [self.sums.new_zeros(IDS + 1).scatter_add_(0, ids, weights)[:IDS] for ids, weights in counts]
        images = torch.full_like(self.sums[0], len(targets))
        self.sums += torch.cat([torch.stack([loss.total.detach(), loss.count, images]), *parts])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """``loss``, ``miou`` and ``pixels``."""
        loss, pixels = sums[:2].tolist()
        hits, true, predicted = sums[3:].unflatten(0, (3, IDS))
        mean, _ = mean_iou(hits, true, predicted)
        return {
            "loss": loss / max(pixels, 1),
            "miou": 100 * mean.nan_to_num().item(),
            "pixels": 100 * hits.sum().item() / max(pixels, 1),
        }


class Segmentation(DenseTask):
    """A class for every pixel, but for those of id 255. ``smoothing``: share of a label spread over the classes."""

    name = retrained_as = "segment"
    head = "segment"
    targets = "masks"
    measure = final_measure = measure_title = "miou"
    result_measures = ("miou", "pixel_accuracy", "loss")

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    @classmethod
    def retrain(cls, smoothing: float = 0.0, aux_weight: float = 0.0) -> Segmentation:
        """As the chosen network is trained; there are no auxiliary heads."""
        return cls(smoothing)

    def loss(self, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> Loss:
        """Cross entropy of scores (n, K, H, W) and class ids (n, H, W), a mean over pixels."""
        return pixel_loss(outputs, targets, self.smoothing)

    def validation_loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        """The same without smoothing, in float32."""
        return pixel_loss(outputs.float(), targets)

    def meter(self, device: torch.device, num_aux: int = 0) -> SegmentationMeter:
        """Loss, mean IoU and pixel accuracy."""
        return SegmentationMeter(device)

    @torch.inference_mode()
    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Mean IoU, IoU of each class, pixel accuracy, loss and the confusion matrix in pixels, over the whole loader.

        In percent but for the loss. The IoU of a class that never occurs is None, and the mean leaves it out.
        """
        network.eval()
        k, confusion, meter = len(names), 0, self.meter(device_of(network))
        loader.set_epoch(0)
        for batch in loader:
            scores, ids = network(batch.images)[0], batch.labels  # (n, K, H, W), (n, H, W)
            meter.update(self.validation_loss(scores, ids), scores, (), ids)
            counted = ids != IGNORED
            places = k * ids[counted] + scores.argmax(1)[counted]  # (pixels,)
            confusion = confusion + torch.bincount(places, minlength=k * k)
        confusion, metrics = confusion.view(k, k).cpu(), meter.read()  # row true
        _, iou = mean_iou(confusion.diagonal(), confusion.sum(1), confusion.sum(0))
        by_class = zip(names, iou.tolist(), confusion.sum(1).tolist(), strict=True)
        return {
            "images": int(meter.sums[meter.images_at]),
            "miou": metrics["miou"],
            "pixel_accuracy": metrics["pixels"],
            "loss": metrics["loss"],
            "per_class": {
                name: {"iou": None if math.isnan(value) else 100 * value, "pixels": pixels}
                for name, value, pixels in by_class
            },
            "confusion": confusion.tolist(),
        }

    @torch.inference_mode()
    def picture(self, network: nn.Module, batch: Any, preset: Any, names: Sequence[str]) -> Any:
        """Each image beside its mask and the mask that the network gives it."""
        images, true = batch.images[:SHOWN], batch.labels[:SHOWN]
        predicted = network.eval()(images)[0].argmax(1)  # (n, H, W)
        rows = [
            [pixels_of(image, preset), *(colours()[ids.long().cpu()] for ids in masks)]
            for image, *masks in zip(images, true, predicted, strict=True)
        ]
        present = sorted({*true.unique().tolist(), *predicted.unique().tolist()} - {IGNORED})
        return rows_figure(rows, ["image", "truth", "prediction"], [(names[i], colours()[i]) for i in present])

    @torch.inference_mode()
    def predict(
        self, network: nn.Module, pictures: Any, names: Sequence[str], *, preset: Any, batch_size: int
    ) -> Tensor:
        """Write the mask of every picture, in its own size and with a palette, and print what is in it."""
        first: list[Tensor] = []
        for files, images, originals in pictures.whole_batches(preset, batch_size, device_of(network)):
            first[:] = first or [images]
            scores = network.eval()(images)[0].float()  # (n, K, S, S)
            for file, score, original in zip(files, scores, originals, strict=True):
                size = original.shape[:2]
                score = F.interpolate(score[None], size=size, mode="bilinear", align_corners=False)[0]  # (K, H, W)
                ids = score.argmax(0).cpu()  # (H, W)
                mask = Image.fromarray(ids.to(torch.uint8).numpy())
                mask.putpalette(colours().flatten().tolist())
                mask.save(prediction_path(file, ".png"))
                tell(f"{show(file)}: {contents(ids, names)}")
        require_pictures(first, pictures)
        tell(f"masks written to {PREDICTIONS}/{left_out(pictures)}")
        return first[0]


def contents(ids: Tensor, names: Sequence[str]) -> str:
    """The classes that take most of a mask (H, W), with their shares."""
    shares = torch.bincount(ids.flatten(), minlength=len(names)) / ids.numel()
    largest = shares.argsort(descending=True, stable=True)[:5].tolist()
    return ", ".join(f"{show(names[i])} {shares[i]:.4f}" for i in largest if shares[i])
