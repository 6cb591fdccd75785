"""A search step of DARTS of first order, and a training step of its network of the same size."""

from __future__ import annotations

import torch

from benchmarks.common import Row, measure
from benchmarks.workloads import CLASSES, CLIP, DROP_PATH, TRAINING, Settings, random_batch, step_of
from engine.task import Classification
from models.macs import count_macs
from models.mixture import COLUMNS, EDGES, Mixture
from models.network import Network
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.genotype import parse_genotype
from utils.system.device import keep_freed_memory

ALPHAS = 2  # forward passes that a step on the alphas counts: the weights of convolutions need no gradient


def _spec(s: Settings) -> NetworkSpec:
    return NetworkSpec((s.size(8, 3),), s.size(16, 4), CLASSES, stem="plain", aux=False, space="darts")


def mixture_macs(spec: NetworkSpec, side: int) -> int:
    """Multiply-accumulates of one image in the supernet, all operations of all edges."""
    with torch.device("meta"):
        tables = (torch.empty(EDGES, len(COLUMNS)) for _ in range(2))
        return count_macs(SuperNet.of(spec).eval(), torch.empty(1, 3, side, side), Mixture(*tables))


def darts_step(s: Settings) -> Row:
    """A step of the alphas on one batch, then one of the weights on another."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    net = s.place(SuperNet.of(_spec(s)))
    batch, task = random_batch(s, s.size(64, 4), 32), Classification.search()
    alphas = [(1e-3 * torch.randn(EDGES, len(COLUMNS), device=s.device)).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.Adam(alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    step, precision = step_of(s, net, task, batch, heads=0, clip=CLIP), s.precision()

    def work() -> None:
        with precision.autocast():
            loss = task.loss(*net(batch.images, Mixture(*(a.softmax(1) for a in alphas))), batch.labels)
        for table, gradient in zip(alphas, torch.autograd.grad(loss, alphas), strict=True):
            table.grad = gradient
        optimizer.step()
        step(Mixture(*(a.detach().softmax(1) for a in alphas)), 0.0)()

    flops = 2 * mixture_macs(net.spec, 32) * len(batch.labels)
    return Row("darts_step", measure([work], s.repeats, s.device), len(batch.labels), [(ALPHAS + TRAINING) * flops])


def darts_network_step(s: Settings) -> Row:
    """A training step of the chosen network of as many filters and cells, without auxiliary head."""
    keep_freed_memory(s.device)
    torch.manual_seed(0)
    net = Network.of(parse_genotype("DARTS_V2"), _spec(s))
    batch = random_batch(s, s.size(64, 4), 32)
    flops = 2 * net.macs(32) * len(batch.labels)
    work = step_of(s, s.place(net), Classification.retrain(), batch, heads=0, clip=CLIP)(DROP_PATH)
    return Row("darts_network_step", measure([work], s.repeats, s.device), len(batch.labels), [TRAINING * flops])
