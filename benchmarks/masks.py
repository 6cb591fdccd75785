"""Training steps on masks: our segmenter, and torchvision's with the same head on MobileNetV3."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from benchmarks.common import Row, measure
from benchmarks.workloads import CLIP, DROP_PATH, TRAINING, Settings, step_of
from data.loaders import Batch
from engine.segmentation import Segmentation
from models.macs import count_macs
from models.network import Network
from models.spec import NetworkSpec
from ops.genotype import parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import keep_freed_memory

CLASSES = 6  # five and the background


class Masks(nn.Module):
    """torchvision's segmenter, as ours: (scores of every pixel, no auxiliary ones)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> scores (N, classes, H, W)."""
        return self.network(images)["out"], []


def _batch(s: Settings) -> Batch:
    n, side, generator = s.size(16, 2), s.size(128, 32), torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, side, side, generator=generator)
    masks = torch.randint(CLASSES, (n, side, side), generator=generator)
    return Batch(s.place(images), masks.to(s.device), 1.0)


def _row(s: Settings, name: str, model: nn.Module, arguments: tuple, macs: int, batch: Batch) -> Row:
    work = step_of(s, s.place(model), Segmentation.retrain(), batch, heads=0, clip=CLIP)(*arguments)
    flops = TRAINING * 2 * macs * len(batch.images)
    return Row(name, measure([work], s.repeats, s.device), len(batch.images), [flops])


def segment_step(s: Settings) -> Row:
    """The default architecture of the scripts with 16 filters, [1,1], behind the stem of larger images."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    genotype, batch = parse_genotype(DEFAULT_ARCH), _batch(s)
    net = Network.of(genotype, NetworkSpec((1, 1), s.size(16, 4), CLASSES, "quarter", aux=False, head="segment"))
    return _row(s, "segment_step", net, (DROP_PATH,), net.macs(batch.images.shape[-1]), batch)


def lraspp_step(s: Settings) -> Row:
    """LR-ASPP with ``mobilenet_v3_large``; always in channels_last, where it is at its best."""
    s = replace(s, channels_last=True)
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    batch, options = _batch(s), {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
    twin = lraspp_mobilenet_v3_large(**options).to("meta").eval()
    macs = count_macs(twin, torch.empty(1, *batch.images.shape[1:], device="meta"))
    return _row(s, "lraspp_step", Masks(lraspp_mobilenet_v3_large(**options)), (), macs, batch)
