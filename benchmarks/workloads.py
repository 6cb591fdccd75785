"""The pieces of work that are measured, built from the parts that the scripts are built from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x1_0

from benchmarks.common import Row, Settings, Work, measure
from controller.sampling import uniform
from data.loaders import Batch
from engine.passes import Learner, evaluate, train_step
from engine.scoring import Scorer
from engine.setup import make_sgd
from engine.tasks import Task
from engine.tasks.classification import Classification
from models.cost import network_cost
from models.network import Network
from models.parts import count_macs
from models.supernet import SuperNet
from ops.genotype import Genotype, parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import compile_blocks, keep_freed_memory

CLASSES = 10
DROP_PATH = 0.2  # some, so that its masks are part of a step
LR, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
TRAINING = 3  # a training step counts three forward passes


def random_batch(s: Settings, n: int, side: int) -> Batch:
    """Images of noise with random labels."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, side, side, generator=generator)  # normalised images have about this mean and deviation
    labels = torch.randint(CLASSES, (n,), generator=generator)
    return Batch(s.place(images), labels.to(s.device))


def step_of(
    s: Settings, model: nn.Module, task: Task, batch: Batch, *, heads: int, clip: float | None
) -> Callable[..., Work]:
    """Given what the model takes besides images, one training step as the engine does it."""
    spare_norms = clip is not None  # a retraining does both, a step of the supernet neither
    optimizer = make_sgd(model.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY, spare_norms=spare_norms)
    precision = s.precision()
    precision.prepare(model, optimizer)
    # No schedule: the rate stays as it is.
    learner, meter = Learner(model, model, optimizer, None, precision, clip), task.meter(s.device, heads)

    def step(arguments: tuple) -> None:
        model.train()  # a supernet is evaluated in between
        train_step(learner, batch, task, arguments, meter)

    return lambda *arguments: partial(step, arguments)


# The shared weights


def genotypes(s: Settings) -> tuple[Genotype, ...]:
    """The same list in every run, whatever the controller is."""
    return uniform(s.size(20, 2), 2, "type", torch.Generator().manual_seed(20))  # two encodings: --sharing type


def _supernet(s: Settings) -> tuple[SuperNet, Batch, list[float]]:
    torch.manual_seed(0)
    net = SuperNet(blocks=s.blocks, filters=s.size(16, 4), num_classes=CLASSES, stem="quarter")
    batch = random_batch(s, s.size(96, 4), 32)
    flops = [2 * network_cost(g, net.spec, 32).macs * len(batch.labels) for g in genotypes(s)]
    return s.place(net), batch, flops


def supernet_step(s: Settings) -> Row:
    """Training steps of the shared weights, each on another genotype."""
    net, batch, flops = _supernet(s)
    step = step_of(s, net, Classification.search(), batch, heads=len(net.aux_heads), clip=None)
    times = measure([step(g, DROP_PATH) for g in genotypes(s)], s.repeats, s.device)
    return Row(times, len(batch.labels), [TRAINING * f for f in flops])


def supernet_eval(s: Settings) -> Row:
    """Evaluations of genotypes with shared weights, one batch each."""
    net, batch, flops = _supernet(s)
    task, precision = Classification.search(), s.precision()
    meter = task.meter(s.device, len(net.aux_heads))

    def score(g: Genotype) -> None:
        evaluate(net, [batch], task, arguments=(g,), statistics=net.scoring(g), precision=precision, meter=meter)

    times = measure([partial(score, g) for g in genotypes(s)], s.repeats, s.device)
    return Row(times, len(batch.labels), flops)


def derivation(s: Settings) -> Row:
    """Seconds a genotype of scoring 100 on the same batches, as the end of a search does it."""
    keep_freed_memory(s.device)  # as the search does by then; it holds for the rest of the process
    torch.manual_seed(0)
    net = s.place(SuperNet(blocks=(1, 1), filters=s.size(16, 4), num_classes=CLASSES, stem="quarter"))
    batches = [random_batch(s, s.size(96, 4), 32)] * s.size(3, 1)  # speed does not depend on what they show
    drawn = uniform(s.size(100, 2), 2, "type", torch.Generator().manual_seed(20))
    task = Classification.search()
    scorer = Scorer(net, task, *task.choose_score("loss"), s.precision())
    times = measure([partial(scorer.metrics, drawn, batches)], s.repeats, s.device, warmup=1)
    return Row(times, len(drawn) * sum(len(b.labels) for b in batches), per=len(drawn))


# The chosen network


def _step(s: Settings, model: nn.Module, task: Task, batch: Batch, flops: float, arguments: tuple = ()) -> Row:
    heads = len(getattr(model, "aux_heads", ()))
    work = step_of(s, model, task, batch, heads=heads, clip=CLIP)(*arguments)
    return Row(measure([work], s.repeats, s.device), len(batch.images), [TRAINING * flops])


def _eval(s: Settings, model: nn.Module, batch: Batch, flops: float) -> Row:
    settle(model, batch.images)
    model.eval()
    task = Classification.retrain()
    meter = task.meter(s.device, len(getattr(model, "aux_heads", ())))
    work = partial(evaluate, model, [batch], task, precision=s.precision(), meter=meter)
    return Row(measure([work], s.repeats, s.device), len(batch.labels), [flops])


@torch.no_grad()
def settle(model: nn.Module, images: Tensor) -> None:
    """Give fresh batch norms the statistics of these images: without, an evaluation drifts to huge numbers."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def retraining(s: Settings, *, training: bool) -> Row:
    """A training step or an evaluation of the default architecture."""
    keep_freed_memory(s.device)  # as retrainer_cifar.py does; it holds for the rest of the process
    torch.manual_seed(0)
    genotype, filters = parse_genotype(DEFAULT_ARCH), s.size(48, 4)
    net = Network(genotype=genotype, blocks=s.blocks, filters=filters, num_classes=CLASSES, stem="full")
    batch = random_batch(s, s.size(32, 2), 32)
    flops = 2 * net.macs(32) * len(batch.labels)
    net = s.place(net)
    if s.compiled:
        compile_blocks(net)
    if training:
        return _step(s, net, Classification.retrain(), batch, flops, (DROP_PATH,))
    return _eval(s, net, batch, flops)


# The yardstick: torchvision's network of the same kind of units


class Yardstick(nn.Module):
    """torchvision's network, as ours: (logits of images, no auxiliary ones)."""

    def __init__(self, compiled: bool) -> None:
        super().__init__()
        network = shufflenet_v2_x1_0(weights=None)
        self.network = torch.compile(network) if compiled else network  # as a whole: its graph never changes

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> logits (N, classes)."""
        return self.network(images), []


def shufflenet(s: Settings, *, training: bool) -> Row:
    """A training step or an evaluation of ``shufflenet_v2_x1_0``."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    batch = random_batch(s, s.size(16, 2), s.size(224, 32))
    image = torch.empty(1, *batch.images.shape[1:], device="meta")  # no numbers: operations follow from shapes
    flops = 2 * count_macs(shufflenet_v2_x1_0(weights=None).to("meta").eval(), image) * len(batch.images)
    net = s.place(Yardstick(s.compiled))
    return _step(s, net, Classification.retrain(), batch, flops) if training else _eval(s, net, batch, flops)
