"""The pieces of work that are measured, built from the parts that the scripts are built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x1_0

from benchmarks.common import Row, Work, measure
from controller.sampling import uniform
from data.loaders import Batch
from engine.optimizers import make_sgd
from engine.passes import evaluate, train_pass
from engine.precision import Precision
from engine.scoring import Scorer
from engine.task import Classification, Task, choose_score
from models.cost import network_cost
from models.macs import count_macs
from models.network import Network
from models.supernet import SuperNet
from ops.genotype import Genotype, parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import compile_blocks, keep_freed_memory

CLASSES = 10
DROP_PATH = 0.2  # some, so that its masks are part of a step
LR, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
TRAINING = 3  # a training step counts three forward passes


@dataclass(frozen=True)
class Settings:
    """How to measure. ``tiny``: the smallest sizes that run, which say nothing about speed."""

    device: torch.device
    precision: Callable[[], Precision]
    compiled: bool = False
    channels_last: bool = False
    repeats: int = 5
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full

    @property
    def blocks(self) -> tuple[int, int]:
        return (1, 1) if self.tiny else (4, 4)

    def place(self, x: nn.Module | Tensor) -> nn.Module | Tensor:
        """On the device, in the memory format."""
        return x.to(self.device, memory_format=torch.channels_last if self.channels_last else torch.preserve_format)


def random_batch(s: Settings, n: int, side: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, side, side, generator=generator)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    return Batch(s.place(images), labels.to(s.device), 1.0)


def step_of(
    s: Settings, model: nn.Module, task: Task, batch: Batch, *, heads: int, clip: float | None
) -> Callable[..., Work]:
    """Given what the model takes besides images, one training step as the engine does it."""
    spare_norms = clip is not None
    optimizer = make_sgd(model.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY, spare_norms=spare_norms)
    precision = s.precision()
    precision.prepare(model, optimizer)
    options = {"optimizer": optimizer, "precision": precision, "clip": clip, "meter": task.meter(s.device, heads)}
    return lambda *arguments: partial(train_pass, model, [batch], task, arguments=[[arguments]], **options)


# The shared weights


def genotypes(s: Settings) -> tuple[Genotype, ...]:
    """The same list in every run, whatever the controller is."""
    return uniform(s.size(20, 2), 2, "type", torch.Generator().manual_seed(20))


def _supernet(s: Settings) -> tuple[SuperNet, Batch, list[float]]:
    torch.manual_seed(0)
    net = SuperNet(s.blocks, s.size(16, 4), CLASSES, stem="quarter")
    batch = random_batch(s, s.size(96, 4), 32)
    flops = [2 * network_cost(g, net.spec, 32).macs * len(batch.labels) for g in genotypes(s)]
    return s.place(net), batch, flops


def supernet_step(s: Settings) -> Row:
    net, batch, flops = _supernet(s)
    step = step_of(s, net, Classification.search(), batch, heads=len(net.aux_heads), clip=None)
    works = [step(g, DROP_PATH) for g in genotypes(s)]
    times = measure(works, s.repeats, s.device)
    return Row("supernet_step", times, len(batch.labels), [TRAINING * f for f in flops])


def supernet_eval(s: Settings) -> Row:
    net, batch, flops = _supernet(s)
    task, precision = Classification.search(), s.precision()
    meter = task.meter(s.device, len(net.aux_heads))

    def score(g: Genotype) -> None:
        evaluate(net, [batch], task, arguments=(g,), mode=net.scoring(g), precision=precision, meter=meter)

    times = measure([partial(score, g) for g in genotypes(s)], s.repeats, s.device)
    return Row("supernet_eval", times, len(batch.labels), flops)


def derivation(s: Settings, *, together: bool) -> Row:
    """Seconds a genotype of scoring 100 on the same batches: each for itself, or as the end of a search does it."""
    if together:
        keep_freed_memory(s.device)  # as the search does by then; it holds for the rest of the process
    torch.manual_seed(0)
    net = s.place(SuperNet((1, 1), s.size(16, 4), CLASSES, stem="quarter"))
    batches = [random_batch(s, s.size(96, 4), 32)] * s.size(3, 1)
    drawn = uniform(s.size(100, 2), 2, "type", torch.Generator().manual_seed(20))
    task, precision, heads = Classification.search(), s.precision(), len(net.aux_heads)

    def apart() -> None:
        for g in drawn:
            options = {"mode": net.scoring(g), "precision": precision, "meter": task.meter(s.device, heads)}
            evaluate(net, batches, task, arguments=(g,), **options)

    scorer = Scorer(net, task, *choose_score("loss", task), precision, s.device, heads)
    work = partial(scorer.metrics, drawn, batches) if together else apart
    times, images = measure([work], s.repeats, s.device, warmup=1), len(drawn) * sum(len(b.labels) for b in batches)
    return Row("derive" if together else "derive_apart", times, images, per=len(drawn))


# The chosen network, and torchvision's, which is made of the same kind of units


def _step(s: Settings, name: str, model: nn.Module, arguments: tuple, batch: Batch, flops: float) -> Row:
    heads = len(getattr(model, "aux_heads", ()))
    work = step_of(s, model, Classification.retrain(), batch, heads=heads, clip=CLIP)(*arguments)
    return Row(name, measure([work], s.repeats, s.device), len(batch.labels), [TRAINING * flops])


def _eval(s: Settings, name: str, model: nn.Module, batch: Batch, flops: float) -> Row:
    settle(model, batch.images)
    model.eval()
    task = Classification.retrain()
    meter = task.meter(s.device, len(getattr(model, "aux_heads", ())))
    work = partial(evaluate, model, [batch], task, precision=s.precision(), meter=meter)
    return Row(name, measure([work], s.repeats, s.device), len(batch.labels), [flops])


@torch.no_grad()
def settle(model: nn.Module, images: Tensor) -> None:
    """Give fresh batch norms the statistics of these images: without, an evaluation drifts to huge numbers."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def _network(s: Settings) -> tuple[Network, Batch, float]:
    keep_freed_memory(s.device)  # as retrainer_cifar.py does; it holds for the rest of the process
    torch.manual_seed(0)
    net = Network(parse_genotype(DEFAULT_ARCH), s.blocks, s.size(48, 4), CLASSES, stem="full")
    batch = random_batch(s, s.size(32, 2), 32)
    flops = 2 * net.macs(32) * len(batch.labels)
    net = s.place(net)
    if s.compiled:
        compile_blocks(net)
    return net, batch, flops


def retrain_step(s: Settings) -> Row:
    net, batch, flops = _network(s)
    return _step(s, "retrain_step", net, (DROP_PATH,), batch, flops)


def retrain_eval(s: Settings) -> Row:
    net, batch, flops = _network(s)
    return _eval(s, "retrain_eval", net, batch, flops)


class Yardstick(nn.Module):
    """torchvision's network, as ours: (logits, no auxiliary ones)."""

    def __init__(self, network: nn.Module, compiled: bool) -> None:
        super().__init__()
        self.network = torch.compile(network) if compiled else network

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> logits (N, classes)."""
        return self.network(images), []


def _yardstick(s: Settings) -> tuple[Settings, nn.Module, Batch, float]:
    """Always in channels_last, where it is at its best."""
    s = Settings(s.device, s.precision, s.compiled, True, s.repeats, s.tiny)
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    net, side = shufflenet_v2_x1_0(weights=None), s.size(224, 32)
    twin = shufflenet_v2_x1_0(weights=None).to("meta").eval()
    batch = random_batch(s, s.size(16, 2), side)
    flops = 2 * count_macs(twin, torch.empty(1, 3, side, side, device="meta")) * len(batch.labels)
    return s, Yardstick(s.place(net), s.compiled), batch, flops


def yardstick_step(s: Settings) -> Row:
    s, net, batch, flops = _yardstick(s)
    return _step(s, "shufflenet_step", net, (), batch, flops)


def yardstick_eval(s: Settings) -> Row:
    s, net, batch, flops = _yardstick(s)
    return _eval(s, "shufflenet_eval", net, batch, flops)
