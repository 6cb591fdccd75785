"""Everything about a network but its genotype, as one value that all rooms pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from models.stems import STEMS, stem_size
from ops.space import SPACES, NetworkSpace
from utils.system.errors import UsageError

DENSE_HEADS = ("segment", "detect")  # whose maps have to lie on the pixels of the image


class SizeError(UsageError):
    """Images or batches that a network of this shape cannot take: one line."""


@dataclass(frozen=True)
class NetworkSpec:
    """The shape of a network: all that has to be known to build it, but for its genotype.

    ``blocks``: normal cells of each stage, and in a space that stacks cells one number, the layers; ``filters``:
    channels of the first stage, even; ``num_classes``: outputs of the head; ``stem``, ``antialias``, ``space``,
    ``head``: names in the tables of models.stems, ops.primitives, ops.space and models.heads; ``aux``: whether
    auxiliary heads are built.
    """

    blocks: tuple[int, ...]
    filters: int
    num_classes: int
    stem: str = "full"
    antialias: str = "conv"
    aux: bool = True
    space: str = "slnas"
    head: str = "classify"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))

    @property
    def search_space(self) -> NetworkSpace:
        """The space that genotypes of this network are of."""
        return SPACES[self.space]

    def as_plain(self) -> dict[str, Any]:
        """Plain values, for checkpoints and JSON."""
        return {**asdict(self), "blocks": list(self.blocks)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """The spec in plain values, whatever else stands beside it; what older files do not state is the default."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in names})

    def halved(self, side: int) -> int:
        """The side in pixels of what a reduction makes of a map."""
        return -(-side // 2) if self.search_space.rounds_up else side // 2

    def smallest_map(self, image_size: int) -> int:
        """The side in pixels of the last cell's output; 0 means that the image is too small for the stages."""
        side = stem_size(self.stem, image_size)
        for _reduction in range(self.search_space.reductions(self.blocks)):
            side = self.halved(side)
        return side

    def require_size(self, image_size: int) -> None:
        """Refuse, with SizeError, images that the stages would shrink to nothing."""
        if self.smallest_map(image_size) < 1:
            divisor = STEMS[self.stem].divisor
            needed = (2 ** len(self.blocks) - 1) * divisor + 1  # the stem rounds up
            raise SizeError(
                f"image size {image_size} is too small for {len(self.blocks)} stages behind the {self.stem} stem: "
                f"at least {needed} pixels are needed"
            )
        coarsest = STEMS[self.stem].divisor * 2 ** self.search_space.reductions(self.blocks)
        if self.head in DENSE_HEADS and image_size % coarsest:
            raise SizeError(
                f"image size {image_size} is no multiple of {coarsest}, by which {len(self.blocks)} stages behind the "
                f"{self.stem} stem divide it: masks and boxes would not lie on the pixels"
            )

    def require_batch(self, image_size: int, smallest_batch: int, split: str = "the data") -> None:
        """Refuse, with SizeError, a batch that leaves a batch norm a single value to take statistics of.

        In our own space, nodes of the last reduction cell halve maps that are halved already. ``split``: of the data,
        which the batch is of.
        """
        side = self.smallest_map(image_size)
        if self.search_space.stacked and self.aux:  # auxiliary heads end in a convolution over the whole map
            side = 1
        elif not self.search_space.rounds_up:
            side = -(-side // 2)
        if smallest_batch * side * side < 2:
            raise SizeError(
                f"a batch of {smallest_batch} image of {split} at size {image_size} leaves batch norm with "
                f"{smallest_batch} value a channel on {side}x{side} maps: "
                "use more images, a larger --batch_size, fewer processes, larger images or fewer stages"
            )


def final_spec(spec: NetworkSpec, deployed: NetworkSpec) -> NetworkSpec:
    """The network of a final: as wide and deep as it will be retrained, behind the stem and the head of the search."""
    return replace(spec, blocks=deployed.blocks, filters=deployed.filters)
