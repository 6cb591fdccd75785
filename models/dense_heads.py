"""Heads for a class of every pixel and for boxes, on torchvision's parts (docs/tasks.md, section 21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.segmentation.lraspp import LRASPPHead
from torchvision.ops import FeaturePyramidNetwork

from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import STEMS

LOW, HIGH = 8, 16  # strides of the maps that LR-ASPP reads
INNER = 128  # channels inside it, as torchvision builds it
NECK = 64  # channels of every map that boxes are read from; groups of 32 are normalised
FINEST = 8  # the least stride of these maps


def map_widths(spec: NetworkSpec, plans: Sequence[CellPlan]) -> dict[int, int]:
    """Channels of the map of every stride in ``Features.by_stride``."""
    widths, stride = {}, STEMS[spec.stem].divisor
    for plan in plans:
        if plan.is_reduction:
            widths[stride], stride = plan.reads[1], 2 * stride
    return {**widths, stride: plans[-1].out_width}


def nearest(stride: int, present: Mapping[int, int]) -> int:
    """The stride among those present that is nearest in ratio; of two, the finer one."""
    return min(sorted(present), key=lambda s: max(s / stride, stride / s))


class Segmenter(nn.Module):
    """Scores of every class for every pixel: LR-ASPP (Howard et al., arXiv 1905.02244), then bilinear enlargement."""

    def __init__(self, widths: Mapping[int, int], outputs: int) -> None:
        super().__init__()
        self.low, self.high = nearest(LOW, widths), nearest(HIGH, widths)
        if self.low == self.high and len(widths) > 1:  # the coarsest is the only one near: the next finer is low
            self.low = sorted(widths)[sorted(widths).index(self.high) - 1]
        self.lraspp = LRASPPHead(widths[self.low], widths[self.high], outputs, INNER)

    def forward(self, features: NamedTuple) -> Tensor:
        """Turn features into (N, outputs, H, W), as large as the images."""
        low, high = features.by_stride[self.low], features.by_stride[self.high]  # (N, C, h, w), half of that or so
        scores = self.lraspp({"low": low, "high": high})  # (N, outputs, h, w)
        return F.interpolate(scores, scale_factor=float(self.low), mode="bilinear", align_corners=False)


class Boxes(NamedTuple):
    """What FCOS says at each of A places, for N images. ``levels``: how many places there are on each map.

    ``cls_logits``: (N, A, K); ``bbox_regression``: (N, A, 4), distances to the sides; ``bbox_ctrness``: (N, A, 1);
    ``anchors``: (A, 4), squares around the places.
    """

    cls_logits: Tensor
    bbox_regression: Tensor
    bbox_ctrness: Tensor
    anchors: Tensor
    levels: tuple[int, ...]

    def split(self, sizes: Sequence[int]) -> list[Boxes]:
        """The same by parts of so many images, as of a tensor."""
        parts = zip(*(x.split(sizes) for x in self[:3]), strict=True)
        return [Boxes(*part, *self[3:]) for part in parts]


class Detector(nn.Module):
    """FCOS (Tian et al., arXiv 1904.01355) on a feature pyramid: a map of each stride, from ``FINEST`` on."""

    def __init__(self, widths: Mapping[int, int], outputs: int) -> None:
        super().__init__()
        self.strides = [s for s in sorted(widths) if s >= FINEST] or [max(widths)]
        self.pyramid = FeaturePyramidNetwork([widths[s] for s in self.strides], NECK)
        self.head = FCOSHead(NECK, 1, outputs)
        self.grid = AnchorGenerator(tuple((s,) for s in self.strides), ((1.0,),) * len(self.strides))

    def reset_weights(self) -> None:
        """Fresh weights of the size that the focal loss starts well from, as torchvision has them."""
        fresh = FCOSHead(NECK, 1, self.head.classification_head.num_classes)
        self.head.load_state_dict(fresh.state_dict())

    def forward(self, features: NamedTuple) -> Boxes:
        """Turn features into (N, A, K) scores, (N, A, 4) distances and (N, A, 1) centrenesses, A places on all maps."""
        maps = {str(s): features.by_stride[s] for s in self.strides}  # (N, C, h, w) each
        n = len(next(iter(maps.values())))
        if not n:  # whose shapes FCOS could not tell
            maps = {key: x.new_zeros(1, *x.shape[1:]) for key, x in maps.items()}
        maps = list(self.pyramid(maps).values())  # (N, NECK, h, w) each
        outputs = self.head(maps)
        return Boxes(*(outputs[name][:n] for name in Boxes._fields[:3]), *self._places(maps))

    def _places(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[int, ...]]:
        self.grid.set_cell_anchors(torch.float32, maps[0].device)  # in half precision far pixels would be the same
        squares = self.grid.grid_anchors([list(x.shape[-2:]) for x in maps], [[s, s] for s in self.strides])
        return torch.cat(squares), tuple(len(level) for level in squares)


def dense(
    spec: NetworkSpec, plans: Sequence[CellPlan], head: type[Segmenter | Detector]
) -> tuple[nn.Module, list[nn.Module]]:
    """A head that reads maps of several strides; no auxiliary heads."""
    return head(map_widths(spec, plans), spec.num_classes), []
