"""What torchvision's FCOS does with what its layers say: losses, and boxes chosen among those that overlap."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSHead

SCORE = 0.05  # the least score of a box that is kept, low because average precision is made of all of them
LEAST_CHANNELS = 32  # FCOS normalises groups of so many


class _Nothing(nn.Module):
    """A backbone that is asked for its channels alone."""

    out_channels = LEAST_CHANNELS


@cache
def _fcos(classes: int) -> FCOS:
    with torch.device("meta"):  # its layers are never run
        return FCOS(_Nothing(), classes, head=FCOSHead(LEAST_CHANNELS, 1, classes, 0), score_thresh=SCORE)


class Rules:
    """The outputs of a network, as models.dense_heads.Boxes, under the rules of FCOS.

    They are read in float32, whatever the precision of the network.
    """

    def __init__(self, outputs: Any) -> None:
        self.found = {
            name: getattr(outputs, name).float() for name in ("cls_logits", "bbox_regression", "bbox_ctrness")
        }
        self.anchors, self.levels = outputs.anchors.float(), list(outputs.levels)
        classes = self.found["cls_logits"].shape[-1]
        self.fcos = _fcos(classes)

    def losses(self, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The three losses of N images, for as many targets of ``boxes`` (k, 4) and ``labels`` (k,)."""
        return self.fcos.compute_loss(targets, self.found, [self.anchors] * len(targets), self.levels)

    def boxes(self, side: int) -> list[dict[str, Tensor]]:
        """For each image of ``side`` pixels its ``boxes`` (k, 4), ``scores`` (k,) and ``labels`` (k,), best first."""
        n = len(self.found["cls_logits"])
        by_level = {name: list(values.split(self.levels, dim=1)) for name, values in self.found.items()}
        anchors = [list(self.anchors.split(self.levels))] * n
        return self.fcos.postprocess_detections(by_level, anchors, [(side, side)] * n)
