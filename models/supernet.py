"""The weight-shared supernet: an edge holds all operations, a genotype picks one (docs/method.md, section 4)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.network import Backbone, Network
from models.spec import NetworkSpec
from models.stems import Stemmed
from models.structures import STRUCTURES
from ops.genotype import Genotype
from utils.system.errors import UsageError


class Statistics(NamedTuple):
    """A way to normalise when a genotype is scored.

    ``kept``: running statistics exist and are used; ``calibrated``: they are taken from training images for one
    scoring and forgotten after it. With neither, a batch is normalised by its own statistics.
    """

    kept: bool = False
    calibrated: bool = False


BN_STATS = {"batch": Statistics(), "recalibrate": Statistics(calibrated=True), "running": Statistics(kept=True)}


class SuperNet(Backbone):
    """A network in which every edge holds all operations; in ours ``blocks.{i}.nodes.{n}.{x,y}.{op id}``.

    It holds no genotype: forward takes the one whose path is to run.

    ``bn_stats`` says where batch norms take their statistics from when a genotype is scored: ``batch``, the
    images at hand (no running statistics exist at all); ``recalibrate``, training images passed through the
    very path first; ``running``, averages over every path that was ever trained, as the published code
    does in its shuffle units. ``bn_affine``: whether the norms of cells scale and shift.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        filters: int,
        num_classes: int,
        stem: str = "quarter",
        sharing: str = "type",
        antialias: str = "conv",
        aux: bool = True,
        bn_stats: str = "batch",
        space: str = "slnas",
        head: str = "classify",
        bn_affine: bool = True,
    ) -> None:
        if bn_stats not in BN_STATS:
            raise ValueError(f"bn_stats {bn_stats!r} is none of {', '.join(BN_STATS)}")
        super().__init__(NetworkSpec(blocks, filters, num_classes, stem, antialias, aux, space, head))
        self.sharing, self.bn_stats, self.bn_affine = sharing, bn_stats, bn_affine
        # A scale that another genotype trained would favour operations by their norm's history.
        if not bn_affine:  # the stems, which no genotype chooses, keep theirs
            for norm in _norms(self.blocks):
                norm.affine, norm.weight, norm.bias = False, None, None
        # Without running statistics a norm uses those of the batch, in evaluation too.
        if not BN_STATS[bn_stats].kept:
            for norm in _norms(self):
                _forget_statistics(norm)

    @classmethod
    def of(
        cls, spec: NetworkSpec, sharing: str = "type", bn_stats: str = "batch", bn_affine: bool = True
    ) -> "SuperNet":
        """A supernet of the shape ``spec``, with fresh weights."""
        return cls(**vars(spec), sharing=sharing, bn_stats=bn_stats, bn_affine=bn_affine)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> "SuperNet":
        """The supernet that :meth:`arguments` describes, with fresh weights."""
        bn_affine = arguments.get("bn_affine", True)  # older files lack it
        return cls.of(NetworkSpec.from_plain(arguments), arguments["sharing"], arguments["bn_stats"], bn_affine)

    def forward(
        self, images: Tensor | Stemmed, genotype: Genotype, drop_path: float | Tensor = 0.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Turn images (N, 3, H, W) into logits (N, classes) and auxiliary ones, along the path of a genotype.

        What :meth:`stem` gave may stand for the images.
        """
        return self.run(images, genotype, drop_path)

    def arguments(self) -> dict[str, Any]:
        """What rebuilds this supernet, as plain values."""
        facts = {"sharing": self.sharing, "bn_stats": self.bn_stats, "bn_affine": self.bn_affine}
        return {**self.spec.as_plain(), **facts}

    def inherit(self, genotype: Genotype) -> Network:
        """The network of ``genotype`` with the weights that the supernet holds for it.

        Batch norms start there from 0 and 1 with what they do not keep here: running statistics, or scales and shifts.
        Raises UsageError in a space whose supernet does not hold the weights of its networks.
        """
        if STRUCTURES[self.spec.space].shared_key is None:
            raise UsageError(f"networks of the space {self.spec.space} have other weights than its supernet holds")
        like = next(self.parameters())
        network = Network.of(genotype, self.spec).to(like.device, like.dtype)
        shared, weights = self.state_dict(), network.state_dict()
        # What only the network keeps, running statistics for one, starts fresh.
        norms = {name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
        for key in weights:
            shared_key = self._shared_key(key, genotype)
            if shared_key in shared:
                weights[key] = shared[shared_key]
            elif key.rpartition(".")[0] not in norms:
                raise KeyError(f"the supernet has no {shared_key}")
        network.load_state_dict(weights)
        return network

    def _shared_key(self, key: str, genotype: Genotype) -> str:
        parts = key.split(".")
        if parts[0] != "blocks":
            return key
        plan = self.blocks[int(parts[1])].plan
        encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
        return ".".join([*parts[:2], *STRUCTURES[self.spec.space].shared_key(parts[2:], encoding)])

    @contextmanager
    def scoring(self, genotype: Genotype | None, calibration: Iterable[Tensor | Stemmed] = ()) -> Iterator[None]:
        """Set evaluation mode for one genotype under ``bn_stats``; afterwards every buffer is as it was.

        ``genotype`` None: for the stems alone, whose statistics no path changes. ``calibration``: batches of images, or
        what the stems made of them, read for ``recalibrate`` alone, averaged with equal weight.
        """
        was_training = self.training
        try:
            if BN_STATS[self.bn_stats].calibrated:
                self._recalibrate(genotype, calibration)
            if self.training:  # thousands of modules to switch
                self.eval()
            yield
        finally:
            if BN_STATS[self.bn_stats].calibrated:
                for norm in _norms(self):
                    _forget_statistics(norm)
            if was_training:
                self.train()

    @property
    def tells_batches_apart(self) -> bool:
        """Whether :meth:`side_by_side` changes no result: not where norms add up what all processes have."""
        return all(type(norm) is nn.BatchNorm2d for norm in _norms(self))

    @contextmanager
    def side_by_side(self, sizes: Sequence[int]) -> Iterator[None]:
        """Evaluate genotypes on several batches as one: norms still take statistics from each of them by itself.

        ``sizes``: images of each batch, in the order in which they lie. Where statistics are given, by training or
        calibration, they are the same for all batches and nothing changes.
        """
        by_batch = BN_STATS[self.bn_stats] == Statistics()
        norms = list(_norms(self)) if by_batch and len(sizes) > 1 else []
        for norm in norms:
            norm.forward = partial(_batch_by_batch, norm, sizes)
        try:
            yield
        finally:
            for norm in norms:
                del norm.forward

    @torch.no_grad()
    def _recalibrate(self, genotype: Genotype | None, calibration: Iterable[Tensor | Stemmed]) -> None:
        like = next(self.parameters())
        for norm in _norms(self):
            # No momentum: the plain mean over all batches.
            norm.track_running_stats, norm.momentum = True, None
            norm.running_mean = like.new_zeros(norm.num_features)
            norm.running_var = like.new_ones(norm.num_features)
            norm.num_batches_tracked = torch.tensor(0, device=like.device)
        self.train()
        for images in calibration:
            if genotype is None:
                self.stem(images)
            else:
                self(images, genotype)


def _norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Those over several processes (torch's SyncBatchNorm) too, which are no BatchNorm2d."""
    return (layer for layer in module.modules() if isinstance(layer, _BatchNorm))


def _batch_by_batch(norm: nn.BatchNorm2d, sizes: Sequence[int], x: Tensor) -> Tensor:
    """What a norm makes of the batches of these sizes that lie side by side in x (N, C, H, W), without a gradient."""
    out, like = torch.empty_like(x), x if norm.weight is None else norm.weight
    statistics = like.new_empty(2, x.shape[1])  # of one batch, which nothing reads
    for batch, place in zip(x.split(sizes), out.split(sizes), strict=True):
        # Each goes to its place at once: to join them would be another pass over all of them.
        torch.native_batch_norm(
            batch, norm.weight, norm.bias, None, None, True, 0.0, norm.eps, out=(place, *statistics)
        )
    return out


def _forget_statistics(norm: nn.BatchNorm2d) -> None:
    """Make a batch norm use the statistics of the batch, in training and in evaluation."""
    norm.track_running_stats = False
    norm.running_mean = norm.running_var = norm.num_batches_tracked = None
