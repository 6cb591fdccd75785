"""Networks: what the supernet and the chosen network share, and the chosen one, which is trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from models.heads import Features
from models.parts import count_macs
from models.spec import NetworkSpec
from models.stems import STEMS, Stemmed, build_stems
from models.structures import STRUCTURES
from ops.encodings import Encoding
from ops.genotype import Genotype
from ops.layers import keep_masks
from utils.system.errors import UsageError


class Backbone(nn.Module):
    """Stems, cells and heads of the shape ``spec``: of a genotype, or of a supernet, which holds all operations.

    Raises GenotypeError when the genotype does not fit, ValueError for impossible shapes.
    """

    def __init__(self, spec: NetworkSpec, genotype: Genotype | None = None) -> None:
        super().__init__()
        self.spec = spec
        structure = STRUCTURES[spec.space]
        if spec.stem not in structure.stems:
            fitting = " or ".join(dict.fromkeys(structure.stems))
            raise UsageError(f"--stem {spec.stem}: networks of the space {spec.space} take {fitting}")
        if genotype is None and structure.shared_cell is None:
            raise UsageError(f"networks of the space {spec.space} have no supernet")
        plans = structure.plan(spec, genotype)
        self.stems = build_stems(spec.stem, spec.filters, spec.antialias)
        self.blocks = nn.ModuleList(
            structure.shared_cell(plan, spec) if genotype is None else structure.cell(plan, spec, genotype)
            for plan in plans
        )
        # Auxiliary heads are built even where none is kept: random numbers are drawn in the same order.
        self.head, aux = structure.head(spec.head)(spec, plans)
        self.aux_heads = nn.ModuleList(aux if spec.aux else [])
        structure.initialise(self)
        if hasattr(self.head, "reset_weights"):  # a head that starts otherwise
            self.head.reset_weights()

    def stem(self, images: Tensor) -> Stemmed:
        """Run the stems on images (N, 3, H, W). What this gives takes the place of images wherever they are run."""
        return Stemmed(*self.stems(images))

    def stemmed_bytes(self, images: Tensor) -> int:
        """About how much memory the two states take that the stems make of images (N, 3, H, W)."""
        # Two states, each smaller than the image by the stride of the stem.
        n, _, height, width = images.shape
        stem = STEMS[self.spec.stem]
        values = n * self.spec.filters * stem.factor * height * width // stem.divisor**2
        return 2 * values * images.element_size()

    def features(self, images: Tensor | Stemmed, genotype: Genotype, drop_path: float | Tensor = 0.0) -> Features:
        """Run stems, unless they have run already, and cells on images (N, 3, H, W). Edges drop in training only."""
        s0, s1 = images if isinstance(images, Stemmed) else self.stem(images)  # (N, C, H', W') each
        keep = self._keep_masks(s1, genotype, drop_path)  # (cells, 2 * nodes, N, 1, 1, 1) or None
        for_aux: list[Tensor] = []
        by_stride, stride = {}, STEMS[self.spec.stem].divisor
        for cell, encoding in zip(self.blocks, self.encodings(genotype), strict=True):
            plan = cell.plan
            if plan.is_reduction:  # s1 is the last map of this size, which heads for pixels and boxes read
                by_stride[stride], stride = s1, 2 * stride
            kept = None if keep is None else keep[plan.index]
            # What the next cell reads, and the output of this one, (N, plan.out_width, h, w).
            s0, s1 = cell(s0, s1, encoding, keep=kept)
            if plan.feeds_aux:
                for_aux.append(s1)
        by_stride[stride] = s1
        return Features(s1, for_aux, by_stride)  # s1: (N, C * 2^S, h, w)

    def encodings(self, genotype: Genotype) -> list[Encoding]:
        """The encoding of every cell, in the order in which they run."""
        plans = [cell.plan for cell in self.blocks]
        return [genotype.cell(plan.stage, plan.index, plan.is_reduction) for plan in plans]

    def run(
        self, images: Tensor | Stemmed, genotype: Genotype, drop_path: float | Tensor = 0.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Run stems, cells and heads on images (N, 3, H, W), or what is left of that on what :meth:`stem` gave.

        Returns what the head gives, (N, classes) for a classifier, and as much for each auxiliary head.
        ``drop_path``: the probability that a path drops, or one for each cell, (cells,).
        """
        features = self.features(images, genotype, drop_path)
        return self.head(features), [head(features) for head in self.aux_heads]

    def _keep_masks(self, like: Tensor, genotype: Genotype, drop_path: float | Tensor) -> Tensor | None:
        """Drop-path factors, (cells, 2 * nodes, N, 1, 1, 1), or None where nothing drops."""
        # A device tensor is not looked at: that would wait for the device.
        if not self.training or (isinstance(drop_path, int | float) and drop_path == 0):
            return None
        operations = self.spec.search_space.operation_positions
        edges = max(len(cell[operations]) for cell in genotype.cells)
        if isinstance(drop_path, Tensor) and drop_path.dim():  # one for each cell
            drop_path = drop_path.repeat_interleave(edges).view(-1, 1, 1, 1, 1)
        masks = keep_masks(len(self.blocks) * edges, like.shape[0], drop_path, like)
        return masks.unflatten(0, (len(self.blocks), edges))

    def drop_before_head(self, share: float) -> None:
        """Let training drop this share of what the head reads. Raises UsageError for a head that cannot."""
        if share and not hasattr(self.head, "dropout"):
            raise UsageError(f"--dropout {share}: the head {self.spec.head} of the space {self.spec.space} has none")
        if share:
            self.head.dropout = share

    @property
    def num_classes(self) -> int:
        """How many outputs the head has."""
        return self.spec.num_classes

    @property
    def num_parameters(self) -> int:
        """How many parameters there are, auxiliary heads included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_aux_parameters(self) -> int:
        """How many parameters the auxiliary heads have, which only training uses."""
        return sum(parameter.numel() for parameter in self.aux_heads.parameters())


class Network(Backbone):
    """The network of a genotype, in which every edge is one operation; in ours ``blocks.{i}.nodes.{n}.{x,y}``.

    Raises GenotypeError when the genotype does not fit ``blocks``, ValueError for impossible widths.
    """

    def __init__(
        self,
        genotype: Genotype,
        blocks: Sequence[int],
        filters: int,
        num_classes: int,
        stem: str = "full",
        antialias: str = "conv",
        aux: bool = True,
        head: str = "classify",
    ) -> None:
        genotype.require_fit(blocks)
        self.genotype = genotype
        spec = NetworkSpec(blocks, filters, num_classes, stem, antialias, aux, space=genotype.space, head=head)
        super().__init__(spec, genotype)

    @classmethod
    def of(cls, genotype: Genotype, spec: NetworkSpec) -> Network:
        """The network of a genotype in the shape ``spec``, with fresh weights."""
        values = {key: value for key, value in vars(spec).items() if key != "space"}  # the genotype names its own
        return cls(genotype, **values)

    def forward(self, images: Tensor, drop_path: float | Tensor = 0.0) -> tuple[Tensor, list[Tensor]]:
        """Turn images (N, 3, H, W) into logits (N, classes) and auxiliary ones. Paths drop in training only."""
        return self.run(images, self.genotype, drop_path)

    def arguments(self) -> dict[str, Any]:
        """What rebuilds this network, as plain values; ``cells``, ``sharing`` and ``concat`` stand for the genotype."""
        return {
            **self.spec.as_plain(),
            "cells": self.genotype.to_lists(),
            "sharing": self.genotype.sharing,
            **({"concat": [list(states) for states in self.genotype.concat]} if self.genotype.concat else {}),
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Network:
        """The network that :meth:`arguments` describes, with fresh weights."""
        spec = NetworkSpec.from_plain(arguments)
        return cls.of(stored_genotype(arguments), spec)

    @torch.no_grad()
    def macs(self, image_size: int) -> int:
        """Count the multiply-accumulates of one image in convolutions and linear maps, auxiliary heads left out.

        Counted by running the network on the meta device, where nothing is computed.
        """
        twin = Network.of(self.genotype, replace(self.spec, aux=False))
        return count_macs(twin.to("meta").eval(), torch.empty(1, 3, image_size, image_size, device="meta"))


def stored_genotype(arguments: Mapping[str, Any]) -> Genotype:
    """The genotype in :meth:`Network.arguments`; what older files do not state is of our own space."""
    space, concat = arguments.get("space", "slnas"), arguments.get("concat", ())
    return Genotype.from_lists(arguments["cells"], arguments["sharing"], space, concat)
