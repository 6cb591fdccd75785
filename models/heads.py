"""What sits behind the cells: heads that turn features into outputs, by the name that a task asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from models.dense_heads import detect, segment
from models.plan import CellPlan
from models.spec import NetworkSpec


class Features(NamedTuple):
    """The maps that stems and cells make of images, for heads to read.

    ``last``: (N, C * 2^S, h, w), the output of the last cell. ``stage_ends``: the output of each stage's reduction but
    the last, which auxiliary heads read. ``by_stride``: one map for every resolution, by how much smaller than the
    image it is: the input of each reduction, and ``last``.
    """

    last: Tensor
    stage_ends: list[Tensor]
    by_stride: dict[int, Tensor]


class PooledLinear(nn.Linear):
    """Average a map over its pixels and apply one linear map without bias.

    Reads the last features, or with ``stage`` the end of that stage.
    """

    def __init__(self, width: int, outputs: int, stage: int | None = None) -> None:
        super().__init__(width, outputs, bias=False)
        self.stage = stage

    def forward(self, features: Features) -> Tensor:
        """Turn features into (N, outputs)."""
        x = features.last if self.stage is None else features.stage_ends[self.stage]  # (N, C, h, w)
        return super().forward(x.mean(dim=(2, 3)))  # (N, C) -> (N, outputs)


def classify(spec: NetworkSpec, plans: Sequence[CellPlan]) -> tuple[nn.Module, list[nn.Module]]:
    """Heads that give one vector of outputs an image: the main one, and one after each stage but the last."""
    ends = [plan for plan in plans if plan.ends_stage]
    aux = [PooledLinear(plan.out_width, spec.num_classes, plan.stage) for plan in ends]
    return PooledLinear(plans[-1].out_width, spec.num_classes), aux


HeadBuilder = Callable[[NetworkSpec, Sequence[CellPlan]], tuple[nn.Module, list[nn.Module]]]

# The head of a name, and the auxiliary heads of a training. A head is a module that takes Features.
HEADS: dict[str, HeadBuilder] = {"classify": classify, "segment": segment, "detect": detect}
