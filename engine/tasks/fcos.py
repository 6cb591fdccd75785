"""What torchvision's FCOS does with what its layers give: losses, and boxes chosen among those that overlap.

FCOS is matching, losses and a choice among overlapping boxes; none of these has weights. So one without a backbone is
kept here for its rules alone, and the network holds the layers (models.dense_heads.Detector).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSHead

SCORE = 0.05  # the least score of a box that is kept, low because average precision is made of all of them
LEAST_CHANNELS = 32  # FCOS normalises groups of so many
Boxes = dict[str, Tensor]  # of an image: "boxes" (k, 4), "labels" (k,) and, of a network, "scores" (k,)


class _Head(FCOSHead):
    """The rules of torchvision's head, which also say how many places were matched with a box."""

    def compute_loss(self, targets: list, head_outputs: dict, anchors: list, matched_idxs: list) -> dict[str, Tensor]:
        """As torchvision has it, and the number of matched places, by which the losses are divided."""
        losses = super().compute_loss(targets, head_outputs, anchors, matched_idxs)
        return {**losses, "matched": (torch.stack(matched_idxs) >= 0).sum().float()}


class _Nothing(nn.Module):
    """A backbone of which FCOS reads the number of channels alone."""

    out_channels = LEAST_CHANNELS


@cache
def _fcos(classes: int) -> FCOS:
    with torch.device("meta"):  # its layers are never run
        return FCOS(_Nothing(), classes, head=_Head(LEAST_CHANNELS, 1, classes, 0), score_thresh=SCORE)


def true_boxes(rows: Tensor) -> list[Boxes]:
    """Boxes (n, m, 5) as torchvision takes them: for each image corners (k, 4) and classes (k,), fillers left out."""
    by_image = [boxes[boxes[:, 4] >= 0] for boxes in rows]  # (k, 5) each
    return [{"boxes": boxes[:, :4], "labels": boxes[:, 4].long()} for boxes in by_image]


def _values(outputs: Any) -> dict[str, Tensor]:
    """The outputs of a network, models.dense_heads.Boxes, as FCOS names them; in float32, whatever their precision."""
    return {name: getattr(outputs, name).float() for name in ("cls_logits", "bbox_regression", "bbox_ctrness")}


def fcos_losses(outputs: Any, targets: list[Boxes]) -> tuple[dict[str, Tensor], Tensor]:
    """The totals of the three losses of N images, and over how many matched places they are: () each.

    ``targets``: as many ``boxes`` (k, 4) with ``labels`` (k,).
    """
    values, anchors = _values(outputs), [outputs.anchors.float()] * len(targets)
    means = _fcos(values["cls_logits"].shape[-1]).compute_loss(targets, values, anchors, list(outputs.levels))
    matched = means.pop("matched")
    return {name: mean * matched.clamp(min=1) for name, mean in means.items()}, matched


def fcos_boxes(outputs: Any, side: int) -> list[Boxes]:
    """For each image of ``side`` pixels its ``boxes`` (k, 4), ``scores`` (k,) and ``labels`` (k,), best first.

    On the CPU, where they are measured, drawn and written.
    """
    values, n = _values(outputs), len(outputs.cls_logits)
    by_level = {name: list(x.split(outputs.levels, dim=1)) for name, x in values.items()}
    anchors = [list(outputs.anchors.float().split(outputs.levels))] * n
    rules = _fcos(values["cls_logits"].shape[-1])
    images = rules.postprocess_detections(by_level, anchors, [(side, side)] * n)
    return [{name: x.cpu() for name, x in boxes.items()} for boxes in images]
