"""Measures, pictures and predictions of a trained network that gives every pixel a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from utils.reports.dense import (
    PREDICTIONS,
    SHOWN,
    as_shown,
    coloured,
    prediction_path,
    rows_figure,
)
from utils.reports.predict import left_out, require_pictures
from utils.system.palette import palette
from utils.system.terminal import show, tell

IGNORED = 255


@torch.inference_mode()
def measure_segmenter(network: nn.Module, loader: Any, names: Sequence[str]) -> dict[str, Any]:
    """Mean IoU, IoU of each class, pixel accuracy, loss and the confusion matrix in pixels, over the whole loader.

    IoU in percent; that of a class that never occurs is None, and the mean leaves it out.
    """
    network.eval()
    k, images, pixels, loss = len(names), 0, 0, 0.0
    confusion = torch.zeros(k * k, dtype=torch.long)
    loader.set_epoch(0)
    for batch in loader:
        scores, ids = network(batch.images)[0].float(), batch.labels  # (n, K, H, W), (n, H, W)
        asked = ids != IGNORED
        flat = scores.permute(0, 2, 3, 1)[asked]  # (pixels, K)
        confusion += torch.bincount(k * ids[asked] + flat.argmax(1), minlength=k * k).cpu()
        loss += F.cross_entropy(flat, ids[asked], reduction="sum").item()
        images, pixels = images + len(ids), pixels + len(flat)
    matrix = confusion.view(k, k).double()  # row true
    hits, true, said = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    union = true + said - hits
    iou = [100 * hits[i].item() / union[i].item() if union[i] else None for i in range(k)]
    found = [value for value in iou if value is not None]
    return {
        "images": images,
        "miou": sum(found) / len(found) if found else 0.0,
        "pixel_accuracy": 100 * hits.sum().item() / max(pixels, 1),
        "loss": loss / max(pixels, 1),
        "per_class": {name: {"iou": iou[i], "pixels": int(true[i])} for i, name in enumerate(names)},
        "confusion": confusion.view(k, k).tolist(),
    }


@torch.inference_mode()
def draw_masks(network: nn.Module, loader: Any, names: Sequence[str]) -> Any:
    """A figure of the first images, each beside its mask and the mask that the network gives it."""
    loader.set_epoch(0)
    batch = next(iter(loader))
    images, true = batch.images[:SHOWN], batch.labels[:SHOWN]
    said = network.eval()(images)[0].argmax(1)  # (n, H, W)
    rows = [
        [as_shown(image, loader.preset), coloured(a), coloured(b)]
        for image, a, b in zip(images, true, said, strict=True)
    ]
    present = sorted({*true.unique().tolist(), *said.unique().tolist()} - {IGNORED})
    colours = np.array(palette()).reshape(256, 3) / 255
    return rows_figure(rows, ["image", "truth", "prediction"], [(names[i], colours[i]) for i in present])


@torch.inference_mode()
def predict_masks(
    network: nn.Module, pictures: Any, batches: Iterable[tuple[list[str], Tensor, list]], names: Sequence[str]
) -> Tensor:
    """Write the mask of every picture, in its own size and with a palette, and say what is in it.

    ``batches``: names, images (n, 3, S, S) and the pictures, (H, W, 3) each. Returns the images of the first batch.
    """
    first: list[Tensor] = []
    for found, images, originals in batches:
        first[:] = first or [images]
        scores = network.eval()(images)[0].float()  # (n, K, S, S)
        for name, own, original in zip(found, scores, originals, strict=True):
            size = tuple(original.shape[:2])
            ids = F.interpolate(own[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0).cpu()  # (H, W)
            picture = Image.fromarray(ids.to(torch.uint8).numpy())
            picture.putpalette(palette())
            picture.save(prediction_path(name, ".png"))
            shares = torch.bincount(ids.flatten(), minlength=len(names)) / ids.numel()
            largest = shares.argsort(descending=True, stable=True)[:5].tolist()
            parts = ", ".join(f"{show(names[i])} {shares[i]:.4f}" for i in largest if shares[i])
            tell(f"{show(name)}: {parts}")
    require_pictures(first, pictures)
    tell(f"masks written to {PREDICTIONS}/{left_out(pictures)}")
    return first[0]
