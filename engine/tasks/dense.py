"""What tasks share whose targets lie in an image: masks of its pixels, or boxes in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from engine.tasks.base import Task


class DenseTask(Task):
    """A task whose targets would have to move with the image, and whose predictions can be drawn."""

    kept_off: ClassVar[Mapping[str, Any]] = {
        "augment": "none",
        "mixup": 0,
        "cutmix": 0,
        "random_erasing": 0,
        "resolution_jitter": False,
    }
    untrained_rankers = ("parameters", "macs")  # the others compare what a network gives for whole images
    draws_predictions: ClassVar[bool] = True

    @abstractmethod
    def picture(self, network: nn.Module, batch: Any, preset: Any, names: Sequence[str]) -> Any:
        """A figure of what the network makes of the first images of a batch."""
