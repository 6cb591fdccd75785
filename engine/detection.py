"""The task of finding boxes: the rules of torchvision's FCOS as a loss, and a meter of it (docs/method.md, section 21).

FCOS is matching, losses and a choice among overlapping boxes; none of these has weights. So one without a
backbone is kept here for its rules alone, and the network holds the layers (models.dense_heads.Detector).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from utils.reports.detection import draw_boxes, measure_detector, predict_boxes
from utils.reports.detection_rules import Rules


def targets_of(rows: Tensor) -> list[dict[str, Tensor]]:
    """Boxes (n, m, 5) as torchvision takes them: for each image corners (k, 4) and classes (k,), fillers left out."""
    found = []
    for own in rows:
        own = own[own[:, 4] >= 0]
        found.append({"boxes": own[:, :4], "labels": own[:, 4].long()})
    return found


class DetectionMeter:
    """The mean loss, and the ``fit``, 100 * exp(-loss): in the order of minus the loss, but positive."""

    def __init__(self, device: torch.device) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(2, dtype=exact, device=device)

    @torch.no_grad()
    def update(self, loss: Tensor, outputs: Any, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its mean loss () and boxes (n, m, 5). A process may have no image."""
        n = len(targets)
        if n:
            self.sums += torch.stack([loss.detach().to(self.sums.dtype) * n, torch.full_like(self.sums[0], n)])

    def read(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """``loss`` and ``fit``. Raises ValueError if no image was added."""
        sums = self.sums.clone()
        loss, n = (sums if total is None else total(sums)).tolist()
        if not n:
            raise ValueError("no image was evaluated")
        return {"loss": loss / n, "fit": 100 * math.exp(-loss / n)}


@dataclass(frozen=True)
class Detection:
    """Boxes and their classes."""

    head: ClassVar[str] = "detect"
    reads: ClassVar[str] = "boxes"
    measure: ClassVar[str] = "fit"
    final: ClassVar[str] = "ap50"
    shown: ClassVar[tuple[str, ...]] = ("ap", "ap50", "ap75")
    needs: ClassVar[tuple[str, ...]] = ("pycocotools",)

    @classmethod
    def search(cls) -> Detection:
        """As shared weights are trained."""
        return cls()

    @classmethod
    def retrain(cls, smoothing: float = 0.0, aux_weight: float = 0.0) -> Detection:
        """As the chosen network is trained. Nothing is smoothed, and there are no auxiliary heads."""
        return cls()

    def outputs(self, classes: int) -> int:
        """One for each class; the background is none of them."""
        return classes

    def targets(self, batch: Any) -> Tensor:
        """Boxes (n, m, 5): x1, y1, x2, y2 in pixels and class, which is -1 for what fills up."""
        return batch.labels

    def loss(self, outputs: Any, aux: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Focal loss, 1 - GIoU and the cross entropy of the centreness, each per matched place: ().

        ``outputs``: as models.dense_heads.Boxes.
        """
        if not len(targets):  # a process without an image
            return outputs.cls_logits.new_full((), torch.nan)
        parts = Rules(outputs).losses(targets_of(targets))
        return sum(parts.values())

    def validation_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """The same: ()."""
        return self.loss(outputs, (), targets)

    def meter(self, device: torch.device, num_aux: int = 0) -> DetectionMeter:
        """Loss and fit."""
        return DetectionMeter(device)

    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Average precision, by class too."""
        return measure_detector(network, loader, names, targets_of)

    def picture(self, network: nn.Module, loader: Any, names: Sequence[str]) -> Any:
        """A figure of the first images with the true boxes and those that are found."""
        return draw_boxes(network, loader, names, targets_of)

    def predict(self, network: nn.Module, pictures: Any, batches: Any, names: Sequence[str]) -> Tensor:
        """Write the boxes of every picture, and draw them on it; the images of the first batch."""
        return predict_boxes(network, pictures, batches, names)
