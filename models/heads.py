"""What sits behind the cells: heads that turn features into outputs, by the name that a task asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from models.dense_heads import detect, segment
from models.plan import CellPlan
from models.spec import NetworkSpec

TILES = 4  # of an image, that the head of a jigsaw joins


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

    Reads the last features, or with ``of`` those of an auxiliary head of this number; ``rectified``: ReLU of them.
    ``dropout``: the share of the averages that training drops.
    """

    dropout = 0.0

    def __init__(
        self, width: int, outputs: int, of: int | None = None, *, bias: bool = False, rectified: bool = False
    ) -> None:
        super().__init__(width, outputs, bias=bias)
        self.of, self.rectified = of, rectified

    def pooled(self, features: Features) -> Tensor:
        """Turn features into (N, C)."""
        x = features.last if self.of is None else features.for_aux[self.of]  # (N, C, h, w)
        return (functional.relu(x) if self.rectified else x).mean(dim=(2, 3))

    def forward(self, features: Features) -> Tensor:
        """Turn features into (N, outputs)."""
        averages = self.pooled(features)  # (N, C)
        if self.dropout and self.training:
            averages = functional.dropout(averages, self.dropout)
        return super().forward(averages)  # (N, C) -> (N, outputs)


def classify(spec: NetworkSpec, plans: Sequence[CellPlan]) -> tuple[nn.Module, list[nn.Module]]:
    """Heads that give one vector of outputs an image: the main one, and one after each stage but the last."""
    read = [plan for plan in plans if plan.feeds_aux]
    aux = [PooledLinear(plan.out_width, spec.num_classes, of) for of, plan in enumerate(read)]
    return PooledLinear(plans[-1].out_width, spec.num_classes), aux


class JoinedTiles(PooledLinear):
    """Average the map of each tile over its pixels, lay the tiles of an image side by side, one linear map.

    ``width``: channels of a map, which holds the tiles of an image in a row. Reads features as PooledLinear does.
    """

    def __init__(self, width: int, outputs: int, of: int | None = None) -> None:
        super().__init__(TILES * width, outputs, of)

    def pooled(self, features: Features) -> Tensor:
        """Turn features of (4 N) tiles into (N, 4 C)."""
        x = super().pooled(features)  # (4 N, C)
        return x.reshape(len(x) // TILES, self.in_features)


def jigsaw(spec: NetworkSpec, plans: Sequence[CellPlan]) -> tuple[nn.Module, list[nn.Module]]:
    """Heads that give one vector of outputs for four tiles: the main one, and one after each stage but the last."""
    read = [plan for plan in plans if plan.feeds_aux]
    aux = [JoinedTiles(plan.out_width, spec.num_classes, of) for of, plan in enumerate(read)]
    return JoinedTiles(plans[-1].out_width, spec.num_classes), aux


HeadBuilder = Callable[[NetworkSpec, Sequence[CellPlan]], tuple[nn.Module, list[nn.Module]]]

# The head of a name, and the auxiliary heads of a training. A head is a module that takes Features. A space may have
# heads of its own in their place (models.structures).
HEADS: dict[str, HeadBuilder] = {"classify": classify, "jigsaw": jigsaw, "segment": segment, "detect": detect}
