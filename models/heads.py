"""What sits behind the cells: heads that turn features into outputs, by the name that a task asks for.

Those of networks that stack cells: docs/spaces.md, section 22.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from models.dense_heads import Detector, Segmenter, dense
from models.plan import CellPlan
from models.spec import NetworkSpec

WINDOW = 5  # pixels that the auxiliary head of a stack averages, and by how many it steps: small images, large ones
STEPS = (3, 2)


class Features(NamedTuple):
    """The maps that stems and cells make of images, for heads to read.

    ``last``: (N, C * 2^S, h, w), the output of the last cell. ``for_aux``: outputs of the cells that auxiliary heads
    read, in order. ``by_stride``: one map for every resolution, by how much smaller than the
    image it is: the input of each reduction, and ``last``.
    """

    last: Tensor
    for_aux: list[Tensor]
    by_stride: dict[int, Tensor]


class PooledLinear(nn.Linear):
    """Average a map over its pixels and apply one linear map.

    Reads the last features, or with ``of`` those of an auxiliary head of this number; ReLU of them where ``rectified``,
    or in training alone where ``rectified_in_training``. ``dropout``: the share of the averages that training drops.
    """

    dropout = 0.0

    def __init__(
        self,
        width: int,
        outputs: int,
        of: int | None = None,
        *,
        bias: bool = False,
        rectified: bool = False,
        rectified_in_training: bool = False,
    ) -> None:
        super().__init__(width, outputs, bias=bias)
        self.of, self.rectified, self.rectified_in_training = of, rectified, rectified_in_training

    def pooled(self, features: Features) -> Tensor:
        """Turn features into (N, C)."""
        x = features.last if self.of is None else features.for_aux[self.of]  # (N, C, h, w)
        if self.rectified or (self.rectified_in_training and self.training):
            x = F.relu(x)
        return x.mean(dim=(2, 3))  # (N, C)

    def forward(self, features: Features) -> Tensor:
        """Turn features into (N, outputs)."""
        averages = self.pooled(features)  # (N, C)
        if self.dropout and self.training:
            averages = F.dropout(averages, self.dropout)
        return super().forward(averages)  # (N, C) -> (N, outputs)


def classify(
    spec: NetworkSpec, plans: Sequence[CellPlan], head: type[PooledLinear] = PooledLinear
) -> tuple[nn.Module, list[nn.Module]]:
    """Heads that give one vector of outputs for what they pool: the main one, and one after each stage but the last."""
    read = [plan for plan in plans if plan.feeds_aux]
    aux = [head(plan.out_width, spec.num_classes, of) for of, plan in enumerate(read)]
    return head(plans[-1].out_width, spec.num_classes), aux


class AuxiliaryHead(nn.Module):
    """A small classifier of its own on the output of a cell of a stack, for training alone.

    Its second convolution reads 2x2 maps, as the published pooling leaves them of the 8x8 maps that images of 32 pixels
    are there (7x7 of large images). Other maps are averaged over their four quarters instead, so that the head has the
    same weights whatever the size of images. ``large``: for large images, which also leaves out the last batch norm
    unless ``both_norms``.
    """

    def __init__(
        self, width: int, outputs: int, large: bool = False, both_norms: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.step = STEPS[large]
        norms = both_norms or not large
        self.layers = nn.Sequential(
            nn.Conv2d(width, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *([nn.BatchNorm2d(768)] if norms else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, outputs, bias=bias),
        )

    def forward(self, features: Features) -> Tensor:
        """Turn features, of which the auxiliary ones are (N, C, h, w), into (N, outputs)."""
        x = F.relu(features.for_aux[0])  # (N, C, h, w)
        sides = {(side - WINDOW) // self.step + 1 if side >= WINDOW else 0 for side in x.shape[-2:]}
        if sides == {2}:
            x = F.avg_pool2d(x, WINDOW, self.step)  # (N, C, 2, 2), as published
        else:
            x = F.adaptive_avg_pool2d(x, 2)  # (N, C, 2, 2)
        return self.layers(x)  # (N, C, 2, 2) -> (N, outputs)


def classify_stack(
    spec: NetworkSpec,
    plans: Sequence[CellPlan],
    *,
    bias: bool = True,
    rectified: bool = False,
    both_norms: bool = True,
    aux_in_place: bool = False,
) -> tuple[nn.Module, list[nn.Module]]:
    """The classifier of a stack and its auxiliary head; ``bias`` of both, ``both_norms`` of the auxiliary one.

    ``aux_in_place``: the first ReLU of the published auxiliary head works in place. Where it reads the last cell, the
    classifier therefore reads ReLU of the map in training.
    """
    read = [plan for plan in plans if plan.feeds_aux]
    aux: list[nn.Module] = [
        AuxiliaryHead(plan.out_width, spec.num_classes, spec.stem == "imagenet", both_norms, bias) for plan in read
    ]
    head = PooledLinear(
        plans[-1].out_width,
        spec.num_classes,
        bias=bias,
        rectified=rectified,
        rectified_in_training=aux_in_place and spec.aux and plans[-1].feeds_aux,
    )
    return head, aux


HeadBuilder = Callable[[NetworkSpec, Sequence[CellPlan]], tuple[nn.Module, list[nn.Module]]]

# The head of a name, and the auxiliary heads of a training. A head is a module that takes Features. A space may have
# heads of its own in their place (models.structures).
HEADS: dict[str, HeadBuilder] = {
    "classify": classify,
    "segment": partial(dense, head=Segmenter),
    "detect": partial(dense, head=Detector),
}
