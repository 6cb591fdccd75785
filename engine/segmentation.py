"""The task of giving every pixel a class: loss, a meter of the mean IoU that stays on the device, and what it reports.

See docs/method.md, section 21.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.reports.segmentation import draw_masks, measure_segmenter, predict_masks

IGNORED = 255  # of the pixels of a mask: no class is asked for
IDS = 255  # classes that a mask has room for


def pixel_loss(scores: Tensor, ids: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean cross entropy of scores (n, K, H, W) over the pixels of ids (n, H, W) that count; 0 where none does.

    Pixel by pixel as one long batch, which every device can do the same way twice.
    """
    flat = scores.permute(0, 2, 3, 1).reshape(-1, scores.shape[1])  # (n * H * W, K)
    total = F.cross_entropy(flat, ids.flatten(), ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
    return total / (ids != IGNORED).sum().clamp(min=1)


def mean_iou(hits: Tensor, true: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and each class's intersection over union, from the diagonal, the row and the column sums of a confusion.

    (K,) each. The mean is over classes that occur, in the truth or in what is said of it; the rest are nan.
    """
    union = true + said - hits  # (K,)
    iou = torch.where(union > 0, hits / union.clamp(min=1), torch.nan)
    return iou.nanmean(), iou


class SegmentationMeter:
    """Loss, mean IoU and pixel accuracy, in percent but for the loss.

    Of the confusion matrix it keeps what these are made of: the diagonal, the row sums and the column sums.
    """

    def __init__(self, device: torch.device) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(2 + 3 * IDS, dtype=exact, device=device)

    @torch.no_grad()
    def update(self, loss: Tensor, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its mean loss (), scores (n, K, H, W) and class ids (n, H, W). A process may have no image."""
        n = len(targets)
        if not n:
            return
        said, true = outputs.argmax(1).flatten(), targets.flatten()  # (n * H * W,) each
        asked = true != IGNORED
        one = asked.to(self.sums.dtype)
        counts = [(true, one * (said == true)), (true, one), (said, one)]
        parts = [self.sums.new_zeros(IDS + 1).scatter_add_(0, ids, weights)[:IDS] for ids, weights in counts]
        head = torch.stack([loss.detach().to(self.sums.dtype) * n, torch.full_like(self.sums[0], n)])
        self.sums += torch.cat([head, *parts])

    def read(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """``loss``, ``miou`` and ``pixels``. Raises ValueError if no image was added."""
        sums = self.sums.clone()
        sums = (sums if total is None else total(sums)).cpu()
        loss, n = sums[:2].tolist()
        if not n:
            raise ValueError("no image was evaluated")
        hits, true, said = sums[2:].unflatten(0, (3, IDS))
        mean, _ = mean_iou(hits, true, said)
        right = hits.sum() / true.sum().clamp(min=1)
        return {"loss": loss / n, "miou": 100 * mean.nan_to_num().item(), "pixels": 100 * right.item()}


@dataclass(frozen=True)
class Segmentation:
    """A class for every pixel, but for those of id 255. ``smoothing``: share of a label spread over the classes."""

    smoothing: float = 0.0
    head: ClassVar[str] = "segment"
    reads: ClassVar[str] = "masks"
    measure: ClassVar[str] = "miou"
    shown: ClassVar[tuple[str, ...]] = ("miou", "pixel_accuracy", "loss")

    @classmethod
    def search(cls) -> Segmentation:
        """As shared weights are trained."""
        return cls()

    @classmethod
    def retrain(cls, smoothing: float = 0.0, aux_weight: float = 0.0) -> Segmentation:
        """As the chosen network is trained; there are no auxiliary heads."""
        return cls(smoothing)

    def outputs(self, classes: int) -> int:
        """One for each class."""
        return classes

    def targets(self, batch: Any) -> Tensor:
        """Class ids (n, H, W)."""
        return batch.labels

    def loss(self, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Cross entropy of scores (n, K, H, W) and class ids (n, H, W): ()."""
        return pixel_loss(outputs, targets, self.smoothing)

    def validation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The same without smoothing, in float32: ()."""
        return pixel_loss(outputs.float(), targets)

    def meter(self, device: torch.device, num_aux: int = 0) -> SegmentationMeter:
        """Loss, mean IoU and pixel accuracy."""
        return SegmentationMeter(device)

    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Mean IoU and that of each class, pixel accuracy, confusion."""
        return measure_segmenter(network, loader, names)

    def picture(self, network: nn.Module, loader: Any, names: Sequence[str]) -> Any:
        """A figure of the first images with truth and prediction."""
        return draw_masks(network, loader, names)

    def predict(self, network: nn.Module, pictures: Any, batches: Any, names: Sequence[str]) -> Tensor:
        """Write the mask of every picture; the images of the first batch."""
        return predict_masks(network, pictures, batches, names)
