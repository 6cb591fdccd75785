"""Average precision of boxes by COCO's rules, from torchmetrics and pycocotools, which only this task needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engine.tasks.fcos import Boxes


def average_precision(true: Sequence[Boxes], predicted: Sequence[Boxes], names: Sequence[str]) -> dict[str, Any]:
    """``ap`` over IoU from 0.5 to 0.95, ``ap50``, ``ap75``, and those of each class, in percent; boxes of each image.

    A class without a true box has none, and the means leave it out.
    """
    from torchmetrics.detection import MeanAveragePrecision

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
