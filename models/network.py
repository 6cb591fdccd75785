"""The chosen network: only the operations that a genotype names, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from models.backbone import Backbone
from models.macs import count_macs
from models.spec import NetworkSpec
from ops.genotype import Genotype


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
        spec = NetworkSpec(blocks, filters, num_classes, stem, antialias, aux, genotype.space, head)
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
