"""The network that a genotype will be retrained as: other widths, depths and images than in the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.backbone import SizeError, require_size
from models.cost import Cost, network_cost
from models.network import Network
from ops.genotype import Genotype, num_cells


@dataclass(frozen=True)
class Deployment:
    """Everything about that network but its genotype; ``image_size`` in pixels."""

    sharing: str
    blocks: tuple[int, ...]
    filters: int
    num_classes: int
    stem: str
    antialias: str
    aux: bool
    image_size: int

    def require_fit(self, searched_blocks: Sequence[int]) -> None:
        """Raise SizeError if the images are too small, or the genotypes of the search have not enough encodings."""
        require_size(self.blocks, self.stem, self.image_size)
        if num_cells(self.sharing, self.blocks) != num_cells(self.sharing, searched_blocks):
            raise SizeError(
                f"with sharing {self.sharing!r} the blocks {list(self.blocks)} to be retrained take another number "
                f"of encodings than the blocks {list(searched_blocks)} of the search"
            )

    def network(self, genotype: Genotype) -> Network:
        """It, with fresh weights."""
        return Network(genotype, self.blocks, self.filters, self.num_classes, self.stem, self.antialias, self.aux)

    def cost(self, genotype: Genotype) -> Cost:
        """Parameters and multiply-accumulates, found without building it."""
        return network_cost(
            genotype,
            self.blocks,
            self.filters,
            self.num_classes,
            stem=self.stem,
            antialias=self.antialias,
            image_size=self.image_size,
        )

    def facts(self) -> dict[str, Any]:
        """Plain values for genotypes.json."""
        return {**vars(self), "blocks": list(self.blocks)}
