"""Average precision, pictures and predictions of a trained network that finds boxes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from math import exp
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes

from utils.reports.dense import PREDICTIONS, SHOWN, as_shown, prediction_path, rows_figure
from utils.reports.detection_rules import Rules
from utils.reports.log import write_json
from utils.reports.predict import left_out, require_pictures
from utils.system.palette import palette
from utils.system.terminal import show, tell

DRAWN = 0.5  # the least score of a box in a picture
Found = dict[str, Tensor]  # "boxes" (k, 4), "labels" (k,) and, of a network, "scores" (k,)


@torch.inference_mode()
def measure_detector(
    network: nn.Module, loader: Any, names: Sequence[str], targets_of: Callable[[Tensor], list[Found]]
) -> dict[str, Any]:
    """Average precision over the whole loader, in percent, loss and fit.

    ``targets_of``: the true boxes in the labels of a batch.
    """
    network.eval()
    true, found, loss = [], [], 0.0
    loader.set_epoch(0)
    for batch in loader:
        targets, rules = targets_of(batch.labels), Rules(network(batch.images)[0])
        loss += len(targets) * sum(rules.losses(targets).values()).item()
        true += [{k: v.cpu() for k, v in own.items()} for own in targets]
        found += [{k: v.cpu() for k, v in own.items()} for own in rules.boxes(batch.images.shape[-1])]
    loss /= len(true)
    return {"images": len(true), "loss": loss, "fit": 100 * exp(-loss), **average_precision(true, found, names)}


def average_precision(true: Sequence[Found], found: Sequence[Found], names: Sequence[str]) -> dict[str, Any]:
    """``ap`` over IoU from 0.5 to 0.95, ``ap50``, ``ap75``, and those of each class, by pycocotools, in percent.

    A class without a true box has none, and the means leave it out.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (own, said) in enumerate(zip(true, found, strict=True), 1):
        for box, label in zip(own["boxes"].tolist(), own["labels"].tolist(), strict=True):
            entry = _entry(image, box, label) | {"id": len(annotations) + 1, "iscrowd": 0}
            annotations.append(entry | {"area": entry["bbox"][2] * entry["bbox"][3]})
        rows = zip(said["boxes"].tolist(), said["labels"].tolist(), said["scores"].tolist(), strict=True)
        results += [_entry(image, box, label) | {"score": score} for box, label, score in rows]
    counts = torch.bincount(
        torch.tensor([a["category_id"] for a in annotations], dtype=torch.long), minlength=len(names)
    )
    if annotations and results:
        with redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": i + 1} for i in range(len(true))],
                "annotations": annotations,
                "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
            }
            truth.createIndex()
            judge = COCOeval(truth, truth.loadRes(results), "bbox")
            judge.evaluate()
            judge.accumulate()
        precision = torch.from_numpy(judge.eval["precision"])[:, :, :, 0, -1]  # (IoUs, recalls, K); -1: no true box
    else:
        precision = torch.zeros(10, 101, len(names), dtype=torch.float64)
        precision[:, :, counts == 0] = -1
    by_class = {name: _means(precision[:, :, i : i + 1]) | {"boxes": int(counts[i])} for i, name in enumerate(names)}
    return {**_means(precision), "per_class": by_class}


def _entry(image: int, box: Sequence[float], label: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}


def _means(precision: Tensor) -> dict[str, float | None]:
    """AP over all IoUs, at 0.5 and at 0.75, of precisions (IoUs, recalls, K)."""

    def mean(values: Tensor) -> float | None:
        values = values[values >= 0]
        return 100 * values.mean().item() if len(values) else None

    return {"ap": mean(precision), "ap50": mean(precision[0]), "ap75": mean(precision[5])}


def drawn(picture: Tensor, found: Found, names: Sequence[str] | None = None) -> Tensor:
    """A picture, uint8 (H, W, 3), with boxes, those of a network with a score of ``DRAWN`` or more: the same shape.

    ``names``: of the classes, written beside the boxes, where these are not told apart by colour alone.
    """
    scores = found.get("scores")
    kept = torch.ones(len(found["labels"]), dtype=torch.bool) if scores is None else scores >= DRAWN
    if not kept.any():
        return picture
    labels, colours = found["labels"][kept].tolist(), palette()
    said = None if names is None else [names[i].encode("ascii", "replace").decode() for i in labels]
    if scores is not None and said:
        said = [f"{name} {score:.2f}" for name, score in zip(said, scores[kept].tolist(), strict=True)]
    own = [tuple(colours[3 * (i + 1) : 3 * (i + 2)]) for i in labels]  # the first is black, as the background
    picture = picture.permute(2, 0, 1).contiguous()  # (3, H, W)
    return draw_bounding_boxes(picture, found["boxes"][kept], said, own).permute(1, 2, 0)


@torch.inference_mode()
def draw_boxes(
    network: nn.Module, loader: Any, names: Sequence[str], targets_of: Callable[[Tensor], list[Found]]
) -> Any:
    """A figure of the first images, with the true boxes and with those that the network finds."""
    loader.set_epoch(0)
    batch = next(iter(loader))
    images, true = batch.images[:SHOWN], targets_of(batch.labels[:SHOWN].cpu())
    said = Rules(network.eval()(images)[0]).boxes(images.shape[-1])
    rows, present = [], set()
    for image, own, found in zip(images, true, said, strict=True):
        picture, found = as_shown(image, loader.preset), {k: v.cpu() for k, v in found.items()}
        rows.append([drawn(picture, own), drawn(picture, found)])
        present |= {*own["labels"].tolist(), *found["labels"][found["scores"] >= DRAWN].tolist()}
    colours = np.array(palette()).reshape(256, 3) / 255
    legend = [(names[i], colours[i + 1]) for i in sorted(present)]
    return rows_figure(rows, ["truth", f"prediction (score from {DRAWN})"], legend)


@torch.inference_mode()
def predict_boxes(
    network: nn.Module, pictures: Any, batches: Iterable[tuple[list[str], Tensor, list]], names: Sequence[str]
) -> Tensor:
    """Write the boxes of every picture as JSON, in its own pixels, and the picture with them drawn on it.

    ``batches``: names, images (n, 3, S, S) and the pictures, (H, W, 3) each. Returns the images of the first batch.
    """
    first: list[Tensor] = []
    document: dict[str, Any] = {}
    for files, images, originals in batches:
        first[:] = first or [images]
        side = images.shape[-1]
        for name, own, original in zip(files, Rules(network.eval()(images)[0]).boxes(side), originals, strict=True):
            own, (height, width) = {k: v.cpu() for k, v in own.items()}, original.shape[:2]
            own["boxes"] = own["boxes"] * torch.tensor([width, height, width, height]) / side
            document[show(name)] = {"width": width, "height": height, "boxes": _plain(own, names)}
            picture = drawn(torch.from_numpy(original), own, names)
            Image.fromarray(picture.contiguous().numpy()).save(prediction_path(name, ".png"))
            best = ", ".join(f"{show(b['class'])} {b['score']:.4f}" for b in document[show(name)]["boxes"][:5])
            tell(f"{show(name)}: {best or 'nothing found'}")
    require_pictures(first, pictures)
    path = prediction_path("boxes", ".json")
    write_json(path, document)
    tell(f"boxes written to {path}, pictures with those of score {DRAWN} or more to {PREDICTIONS}/{left_out(pictures)}")
    return first[0]


def _plain(found: Found, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
    return [{"box": [round(v, 2) for v in box], "class": names[i], "score": round(s, 6)} for box, i, s in rows]
