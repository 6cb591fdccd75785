"""The network that a genotype will be retrained as: other widths, depths and images than in the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.cost import network_cost
from models.network import Network
from models.parts import Cost
from models.spec import NetworkSpec, SizeError
from ops.genotype import Genotype, num_cells
from utils.system.device import measure_latency
from utils.system.processes import World


@dataclass(frozen=True)
class Deployment:
    """The network to be retrained but for its genotype: shape, how cells share encodings, image size in pixels."""

    spec: NetworkSpec
    sharing: str
    image_size: int

    def require_fit(self, searched_blocks: Sequence[int]) -> None:
        """Raise SizeError if the images are too small, or the genotypes of the search have not enough encodings."""
        self.spec.require_size(self.image_size)
        blocks = self.spec.blocks
        # Genotypes go from the search to the retraining as they are, encoding by encoding.
        if num_cells(self.sharing, blocks) != num_cells(self.sharing, searched_blocks):
            raise SizeError(
                f"with sharing {self.sharing!r} the blocks {list(blocks)} to be retrained take another number "
                f"of encodings than the blocks {list(searched_blocks)} of the search"
            )

    def network(self, genotype: Genotype) -> Network:
        """The network of a genotype, with fresh weights."""
        return Network.of(genotype, self.spec)

    def cost(self, genotype: Genotype) -> Cost:
        """Parameters and multiply-accumulates, found without building the network."""
        return network_cost(genotype, self.spec, self.image_size)

    def facts(self) -> dict[str, Any]:
        """Plain values for genotypes.json."""
        return {"sharing": self.sharing, **self.spec.as_plain(), "image_size": self.image_size}


def cost_functions(
    deployment: Deployment, world: World, device: torch.device
) -> dict[str, Callable[[Genotype], float]]:
    """How each cost of a deployed network is found, cheap ones first. All processes go by the clock of the first."""

    def latency(genotype: Genotype) -> float:
        # One clock: processes whose timings differ would draw different genotypes.
        if not world.is_main:
            return world.broadcast(None)
        size = deployment.image_size
        images = torch.zeros(1, 3, size, size, device=device)
        return world.broadcast(measure_latency(deployment.network(genotype).to(device).eval(), images))

    # Cheap ones first: a genotype that has too many parameters is never timed.
    return {
        "parameters": lambda genotype: deployment.cost(genotype).parameters,
        "macs": lambda genotype: deployment.cost(genotype).macs,
        "latency_ms": latency,
    }
