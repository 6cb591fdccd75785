"""Scoring genotypes with shared weights (docs/method.md, sections 4.2 and 4.5).

Each batch goes through the stems once, and on from there along the path of every genotype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from utils.training.precision import Precision
from utils.training.task import Batch, Score, Task

HELD = 2**28  # bytes of what the stems, and operations that read them, made of reward images


class ScoreError(RuntimeError):
    """A score is no number, so that nothing can be learned from it or ranked by it."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the score is not finite in {where}; the last checkpoint is untouched")


class SharedWeights(Protocol):
    """What holds the weights of all genotypes: ``models.supernet.SuperNet``."""

    training: bool

    def stem(self, images: Tensor, room: int = 0) -> Any:
        """The part that no genotype changes, run on images; ``nbytes`` of what it gives. ``room``: see SuperNet."""

    def scoring(self, genotype: Any, calibration: Iterable[Any]) -> AbstractContextManager:
        """Evaluation mode under the batch-norm statistics of a genotype, or with None of the stems."""

    def __call__(self, stemmed: Any, genotype: Any) -> tuple[Tensor, list[Tensor]]:
        """The rest, along the path of a genotype: outputs and auxiliary outputs."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold evaluation mode over many scorings: a supernet has thousands of modules to switch."""
    was_training = model.training
    try:
        if was_training:
            model.eval()
        yield
    finally:
        if was_training:
            model.train()


@dataclass(frozen=True)
class Scorer:
    """Measures genotypes with the shared weights.

    ``score`` is called ``name``. ``heads``: auxiliary ones of the supernet. ``calibration``: batches of images, for
    statistics that are taken ``by_path``. ``total``: sums over processes.
    """

    supernet: SharedWeights
    task: Task
    name: str
    score: Score
    precision: Precision
    device: torch.device
    heads: int = 0
    calibration: Sequence[Tensor] = ()
    by_path: bool = False
    total: Callable[[Tensor], Tensor] | None = None

    @torch.inference_mode()
    def metrics(
        self, genotypes: Sequence[Any], batches: Iterable[Batch], done: Callable[[], None] = lambda: None
    ) -> list[dict[str, float]]:
        """The metrics of each genotype on all batches, the ``score`` among them.

        ``done`` is called after every batch of every genotype; it may raise to stop.
        """
        if not genotypes:
            return []
        meters = [self.task.meter(self.device, self.heads) for _ in genotypes]
        with evaluating(self.supernet):
            calibration = [self.supernet.stem(images) for images in self.calibration]
            for chunk in self._chunks(batches):
                for genotype, meter in zip(genotypes, meters, strict=True):
                    with self.supernet.scoring(genotype, calibration):
                        for stemmed, targets in chunk:
                            with self.precision.autocast():
                                outputs, aux = self.supernet(stemmed, genotype)
                            meter.update(self.task.validation_loss(outputs, targets), outputs, aux, targets)
                            done()
        found = [meter.read(self.total) for meter in meters]
        return [{**metrics, "score": self.score.of(metrics[self.score.metric])} for metrics in found]

    def _chunks(self, batches: Iterable[Batch]) -> Iterator[list[tuple[Any, Tensor]]]:
        """Batches behind the stems, with their targets, as many at a time as are to be held.

        One is enough where all genotypes share statistics, and with it what they compute alike behind the stems. Taking
        statistics for a genotype costs more than a batch: then as many as memory allows are scored under them.
        """
        left, room, most = iter(batches), 0 if self.by_path else HELD, HELD if self.by_path else 0
        for first in left:
            chunk, held = [], 0
            with self.supernet.scoring(None, self.calibration):
                for batch in chain([first], left):
                    with self.precision.autocast():
                        stemmed = self.supernet.stem(batch.images, room)
                    chunk.append((stemmed, self.task.targets(batch)))
                    held += stemmed.nbytes
                    if held >= most:
                        break
            yield chunk
            chunk.clear()


def require_finite(score: float, where: str) -> float:
    """The score itself. Raises ScoreError where it is no number."""
    if not math.isfinite(score):
        raise ScoreError(where)
    return score
