"""The pieces of work that are measured, built from the parts that the scripts are built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x1_0
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from benchmarks.common import Row, Settings, Work, measure
from controller.sampling import uniform
from data.loaders import Batch
from engine.optimizers import make_sgd
from engine.passes import Learner, evaluate, train_step
from engine.scoring import Scorer
from engine.tasks import Task
from engine.tasks.classification import Classification
from engine.tasks.segmentation import Segmentation
from models.cost import network_cost
from models.mixture import COLUMNS, EDGES, Mixture
from models.network import Network
from models.parts import count_macs
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.genotype import Genotype, parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import compile_blocks, keep_freed_memory

CLASSES, MASK_CLASSES = 10, 6
DROP_PATH = 0.2  # some, so that its masks are part of a step
LR, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
TRAINING = 3  # a training step counts three forward passes
ALPHAS = 2  # a step on DARTS' alphas counts two: the weights of convolutions need no gradient


def random_batch(s: Settings, n: int, side: int, *, masks: bool = False) -> Batch:
    """Images of noise with random labels, or with a random label for every pixel."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, side, side, generator=generator)  # normalised images have about this mean and deviation
    classes, shape = (MASK_CLASSES, (n, side, side)) if masks else (CLASSES, (n,))
    labels = torch.randint(classes, shape, generator=generator)
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
    scorer = Scorer(net, task, *task.choose_score("loss"), s.precision(), s.device, len(net.aux_heads))
    times = measure([partial(scorer.metrics, drawn, batches)], s.repeats, s.device, warmup=1)
    return Row(times, len(drawn) * sum(len(b.labels) for b in batches), per=len(drawn))


def darts_step(s: Settings) -> Row:
    """A search step of first-order DARTS: one of the alphas on a batch, then one of the weights on it."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    spec = NetworkSpec((s.size(8, 3),), s.size(16, 4), CLASSES, stem="plain", aux=False, space="darts")
    net = s.place(SuperNet.of(spec))
    batch, task = random_batch(s, s.size(64, 4), 32), Classification.search()
    # For normal cells and reductions.
    alphas = [(1e-3 * torch.randn(EDGES, len(COLUMNS), device=s.device)).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.Adam(alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    step, precision = step_of(s, net, task, batch, heads=0, clip=CLIP), s.precision()

    def work() -> None:
        with precision.autocast():
            loss = task.loss(*net(batch.images, Mixture(*(a.softmax(1) for a in alphas))), batch.labels).mean
        for table, gradient in zip(alphas, torch.autograd.grad(loss, alphas), strict=True):
            table.grad = gradient  # of the alphas alone: those of the weights are not touched
        optimizer.step()
        step(Mixture(*(a.detach().softmax(1) for a in alphas)), 0.0)()

    with torch.device("meta"):  # counts all operations of all edges, and computes nothing
        mixture = Mixture(*(torch.empty(EDGES, len(COLUMNS)) for _ in range(2)))
        macs = count_macs(SuperNet.of(spec).eval(), torch.empty(1, 3, 32, 32), mixture)
    flops = (ALPHAS + TRAINING) * 2 * macs * len(batch.labels)
    return Row(measure([work], s.repeats, s.device), len(batch.labels), [flops])


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


def segment_step(s: Settings) -> Row:
    """A training step on masks of the default architecture, behind the stem of larger images."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    batch = random_batch(s, s.size(16, 2), s.size(128, 32), masks=True)
    spec = NetworkSpec((1, 1), s.size(16, 4), MASK_CLASSES, "quarter", aux=False, head="segment")
    net = Network.of(parse_genotype(DEFAULT_ARCH), spec)
    flops = 2 * net.macs(batch.images.shape[-1]) * len(batch.images)
    return _step(s, s.place(net), Segmentation.retrain(), batch, flops, (DROP_PATH,))


# Yardsticks of torchvision, made of the same kind of units


class Yardstick(nn.Module):
    """torchvision's network, as ours: (logits of images or of pixels, no auxiliary ones)."""

    def __init__(self, network: nn.Module, compiled: bool) -> None:
        super().__init__()
        self.network = torch.compile(network) if compiled else network  # as a whole: its graph never changes

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> logits (N, classes), or (N, classes, H, W) of a segmenter."""
        outputs = self.network(images)
        return outputs["out"] if isinstance(outputs, dict) else outputs, []


def _yardstick(s: Settings, make: Callable[[], nn.Module], batch: Batch) -> tuple[Settings, nn.Module, float]:
    """Always in channels_last, where it is at its best."""
    s = replace(s, channels_last=True)
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    image = torch.empty(1, *batch.images.shape[1:], device="meta")  # no numbers: operations follow from shapes
    flops = 2 * count_macs(make().to("meta").eval(), image) * len(batch.images)
    return s, Yardstick(s.place(make()), s.compiled), flops


def shufflenet(s: Settings, *, training: bool) -> Row:
    """A training step or an evaluation of ``shufflenet_v2_x1_0``."""
    batch = random_batch(replace(s, channels_last=True), s.size(16, 2), s.size(224, 32))
    s, net, flops = _yardstick(s, partial(shufflenet_v2_x1_0, weights=None), batch)
    if training:
        return _step(s, net, Classification.retrain(), batch, flops)
    return _eval(s, net, batch, flops)


def lraspp_step(s: Settings) -> Row:
    """A training step on masks of LR-ASPP with ``mobilenet_v3_large``, which has the same head as ours."""
    batch = random_batch(replace(s, channels_last=True), s.size(16, 2), s.size(128, 32), masks=True)
    make = partial(lraspp_mobilenet_v3_large, weights=None, weights_backbone=None, num_classes=MASK_CLASSES)
    s, net, flops = _yardstick(s, make, batch)
    return _step(s, net, Segmentation.retrain(), batch, flops)
