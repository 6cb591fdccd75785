"""Scoring genotypes with shared weights (docs/method.md, sections 4.2 and 4.5).

Each batch goes through the stems once, and on from there along the path of every genotype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from controller.score_cache import ScoreCache
from data.loaders import Batch
from engine.finite import require_finite
from engine.precision import Precision
from engine.tasks import Meter, Score, Task
from engine.tasks.base import device_of
from models.supernet import BN_STATS, SuperNet

HELD = 2**28  # bytes of what the stems made of reward images
TOGETHER = 2**23  # bytes of what the stems made of batches that are run as one


class StemmedBatches(NamedTuple):
    """Batches behind the stems, side by side: the images of each, and what their answers are compared with."""

    stemmed: Any
    sizes: Sequence[int]
    targets: Sequence[Tensor]


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

    ``score`` is called ``name``. ``calibration``: batches of images, for statistics that are taken for every genotype.
    ``total``: sums over processes. ``cache``: scores that are known with the weights as they are.
    """

    supernet: SuperNet
    task: Task
    name: str
    score: Score
    precision: Precision
    calibration: Sequence[Tensor] = ()
    total: Callable[[Tensor], Tensor] | None = None
    cache: ScoreCache = field(default_factory=ScoreCache)

    @torch.inference_mode()
    def metrics(
        self, genotypes: Sequence[Any], batches: Iterable[Batch], done: Callable[[], None] = lambda: None
    ) -> list[dict[str, float]]:
        """The metrics of each genotype on all batches, the ``score`` among them.

        ``done`` is called after every batch of every genotype; it may raise to stop.
        """
        if not genotypes:
            return []
        # All stay open at once: batches are read once, and every genotype is run on each.
        device, heads = device_of(self.supernet), len(self.supernet.aux_heads)
        meters = [self.task.meter(device, heads) for _ in genotypes]
        with evaluating(self.supernet):
            # Which no genotype changes: once for all.
            calibration = [self.supernet.stem(images) for images in self.calibration]
            for chunk in self._chunks(batches):
                # Once for all genotypes, since it touches every norm; a chunk of several has its statistics given.
                with self.supernet.side_by_side(chunk[0].sizes):
                    for genotype, meter in zip(genotypes, meters, strict=True):
                        with self.supernet.scoring(genotype, calibration):
                            for group in chunk:
                                self._add(genotype, group, meter, done)
        # The score is made of the sums of all processes: the mean of their scores would be another number.
        results = [meter.read(self.total) for meter in meters]
        return [{**metrics, "score": self.score.of(metrics[self.score.metric])} for metrics in results]

    def scores(self, genotypes: Sequence[Any], batches: Sequence[Batch], where: str) -> list[float]:
        """The score of each genotype on the batches, or the one that it has with these weights already.

        ``where``: the place in the run, for the ScoreError of a score that is not finite.
        """
        known, missing = self.cache.scores, self.cache.missing(genotypes)
        for genotype, metrics in zip(missing, self.metrics(missing, batches), strict=True):
            known[genotype] = require_finite(metrics["score"], f"{where}, genotype {genotype}")
        return [known[genotype] for genotype in genotypes]

    def _add(self, genotype: Any, group: StemmedBatches, meter: Meter, done: Callable[[], None]) -> None:
        """Run a genotype on batches that are shown together, and add what each of them gives."""
        with self.precision.autocast():
            # The images of all batches of the group in one pass: (sum of sizes, ...).
            outputs, aux = self.supernet(group.stemmed, genotype)
        by_head = [x.split(group.sizes) for x in (outputs, *aux)]  # of each head the answers by batch: (n, ...)
        for (output, *further), targets in zip(zip(*by_head, strict=True), group.targets, strict=True):
            meter.update(self.task.validation_loss(output, targets), output, further, targets)
            done()

    def _chunks(self, batches: Iterable[Batch]) -> Iterator[list[StemmedBatches]]:
        """Batches behind the stems, with their targets, as many at a time as are to be held.

        Those that are shown together are enough where all genotypes share statistics. Taking statistics for a genotype
        costs more than a batch: then as many as memory allows are scored under them.
        """
        left, most = self._together(batches), HELD if BN_STATS[self.supernet.bn_stats].calibrated else 0
        # Both loops take from this one iterator: the outer goes on where the inner stopped.
        for first in left:
            chunk, held = [], 0
            with self.supernet.scoring(None, self.calibration):
                for group in chain([first], left):
                    stemmed = self._stem(group)
                    chunk.append(stemmed)
                    held += stemmed.stemmed.nbytes
                    if held >= most:  # at once where `most` is 0: the chunk is one group
                        break
            yield chunk
            chunk.clear()  # this generator would keep it while the next one is made

    def _together(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Batches by as many as are shown together: small ones, since kernels on few values wait for each other."""
        group, held = [], 0
        for batch in batches:
            size = self.supernet.stemmed_bytes(batch.images)
            # A batch that is larger than that by itself runs alone; so do all where norms cannot tell batches apart.
            if group and (held + size > TOGETHER or not self.supernet.tells_batches_apart):
                yield group
                group, held = [], 0
            group.append(batch)
            held += size
        if group:
            yield group

    def _stem(self, group: Sequence[Batch]) -> StemmedBatches:
        sizes = [len(batch.images) for batch in group]
        # No copy of a single batch; (sum of sizes, 3, S, S).
        images = group[0].images if len(group) == 1 else torch.cat([batch.images for batch in group])
        with self.precision.autocast(), self.supernet.side_by_side(sizes):
            stemmed = self.supernet.stem(images)
        return StemmedBatches(stemmed, sizes, [batch.labels for batch in group])
