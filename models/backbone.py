"""What the supernet and the chosen network share: stems, blocks in order, heads, initialisation."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from models.block import Block
from models.plan import BlockPlan, plan_blocks
from models.stems import build_stems, run_stems, stem_size
from ops.drop_path import keep_masks
from ops.genotype import NUM_NODES, Genotype
from utils.system.errors import UsageError


def smallest_map(blocks: Sequence[int], stem: str, image_size: int) -> int:
    """The side in pixels of the last block's output; 0 means that the image is too small for the stages."""
    return stem_size(stem, image_size) // 2 ** len(blocks)


class SizeError(UsageError):
    """Images or batches that a network of this shape cannot take: one line."""


def require_size(blocks: Sequence[int], stem: str, image_size: int) -> None:
    """Refuse, with SizeError, images that the stages would shrink to nothing."""
    if smallest_map(blocks, stem, image_size) < 1:
        needed = 2 ** len(blocks) * (1 if stem == "full" else 4)
        raise SizeError(
            f"image size {image_size} is too small for {len(blocks)} stages behind the {stem} stem: "
            f"at least {needed - (0 if stem == 'full' else 3)} pixels are needed"
        )


def require_batch(
    blocks: Sequence[int],
    stem: str,
    image_size: int,
    smallest_batch: int,
    part: str = "the data",
    remedy: str = "a larger --batch_size",
) -> None:
    """Refuse, with SizeError, a batch that leaves a batch norm a single value to take statistics of.

    Nodes of the last reduction block halve maps that are halved already. ``part``: of the data, which the batch is
    of; ``remedy``: what makes its batches larger.
    """
    side = -(-smallest_map(blocks, stem, image_size) // 2)
    if smallest_batch * side * side < 2:
        raise SizeError(
            f"a batch of {smallest_batch} image of {part} at size {image_size} leaves batch norm with "
            f"{smallest_batch} value a channel on {side}x{side} maps: use {remedy}, larger images or fewer stages"
        )


def initialise(module: nn.Module) -> None:
    """Convolutions kaiming-normal fan_out, BN 1/0, linear maps normal(0, 0.01) (METHOD section 4)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)


class Backbone(nn.Module):
    """Stems, blocks and heads over edges that a subclass chooses.

    ``blocks``: normal blocks per stage; ``filters``: channels of the first stage, even. Raises ValueError.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        filters: int,
        num_classes: int,
        *,
        stem: str,
        antialias: str,
        aux: bool,
        build_edge: Callable[[BlockPlan, int, str], nn.Module],
    ) -> None:
        super().__init__()
        plans = plan_blocks(blocks, filters)
        self.stem, self.antialias, self.aux = stem, antialias, aux
        self.stage_blocks, self.filters, self.num_classes = tuple(blocks), filters, num_classes
        self.stems = build_stems(stem, filters, antialias)
        self.blocks = nn.ModuleList(Block(plan, lambda n, side, plan=plan: build_edge(plan, n, side)) for plan in plans)
        heads = [plan.out_width for plan in plans if plan.ends_stage] if aux else []
        self.aux_heads = nn.ModuleList(nn.Linear(width, num_classes, bias=False) for width in heads)
        self.head = nn.Linear(plans[-1].out_width, num_classes, bias=False)
        initialise(self)

    def run(self, images: Tensor, genotype: Genotype, drop_path: float | Tensor = 0.0) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> logits (N, classes) and one (N, classes) for each auxiliary head."""
        s0, s1 = run_stems(self.stems, images)
        keep = self._keep_masks(s1, drop_path)
        aux: list[Tensor] = []
        for block in self.blocks:
            plan = block.plan
            encoding = genotype.cell(plan.stage, plan.index, plan.is_reduction)
            s0, s1 = block(s0, s1, encoding, keep=None if keep is None else keep[plan.index])
            if plan.ends_stage and len(self.aux_heads):
                aux.append(self.aux_heads[plan.stage](s1.mean(dim=(2, 3))))
        return self.head(s1.mean(dim=(2, 3))), aux

    def _keep_masks(self, like: Tensor, drop_path: float | Tensor) -> Tensor | None:
        if not self.training or (isinstance(drop_path, int | float) and drop_path == 0):
            return None
        paths = 2 * NUM_NODES
        masks = keep_masks(len(self.blocks) * paths, like.shape[0], drop_path, like)
        return masks.unflatten(0, (len(self.blocks), paths))

    def arguments(self) -> dict[str, Any]:
        """What the constructor takes to build this network again, as plain values."""
        return {
            "blocks": list(self.stage_blocks),
            "filters": self.filters,
            "num_classes": self.num_classes,
            "stem": self.stem,
            "antialias": self.antialias,
            "aux": self.aux,
        }

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_aux_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.aux_heads.parameters())
