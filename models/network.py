"""The chosen network: only the operations that a genotype names, trained from scratch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import Backbone
from models.cost import count_macs
from models.plan import BlockPlan
from ops.genotype import Genotype
from ops.registry import build_operation


class Network(Backbone):
    """The network of ``genotype``. Every edge is one operation: ``blocks.{i}.nodes.{n}.{x,y}``.

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
    ) -> None:
        genotype.require_fit(blocks)

        def build_edge(plan: BlockPlan, n: int, side: str) -> nn.Module:
            encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
            op = encoding[4 * n + (1 if side == "x" else 3)]
            stride = 2 if plan.is_reduction else 1
            return build_operation(op, plan.width, plan.out_width, stride=stride, antialias=antialias)

        super().__init__(blocks, filters, num_classes, stem=stem, antialias=antialias, aux=aux, build_edge=build_edge)
        self.genotype = genotype

    def forward(self, images: Tensor, drop_path: float | Tensor = 0.0) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> (logits (N, classes), auxiliary logits). Paths drop in training only."""
        return self.run(images, self.genotype, drop_path)

    def arguments(self) -> dict[str, Any]:
        """As :meth:`Backbone.arguments`; ``cells`` and ``sharing`` stand for the genotype."""
        return {
            **super().arguments(),
            "cells": self.genotype.to_lists(),
            "sharing": self.genotype.sharing,
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> "Network":
        """The network that :meth:`arguments` describes, with fresh weights."""
        rest = {key: value for key, value in arguments.items() if key not in ("cells", "sharing")}
        return cls(Genotype.from_lists(arguments["cells"], arguments["sharing"]), **rest)

    @torch.no_grad()
    def macs(self, image_size: int) -> int:
        """Multiply-accumulates of one image in convolutions and linear maps, auxiliary heads left out.

        Counted by running the network on the meta device, where nothing is computed.
        """
        twin = Network(
            self.genotype, self.stage_blocks, self.filters, self.num_classes, self.stem, self.antialias, False
        )
        return count_macs(twin.to("meta").eval(), torch.empty(1, 3, image_size, image_size, device="meta"))
