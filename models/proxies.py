"""Rankers that need no training: scores of an untrained network, higher is better (docs/strategies.md, section 15).

All take a fresh network that gives ``(outputs, auxiliary outputs)``, which they may change, and images (N, 3, H, W). It
is in training mode: the running statistics of a fresh batch norm say nothing, those of the batch do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from models.deployment import Deployment
from models.network import Network
from models.parts import count_macs
from ops.genotype import Genotype
from ops.layers import Mish
from ops.stacked import Rectified
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed

JITTER = 1e-5  # added to eigenvalues, which may be zero


class ProxyError(UsageError, ValueError):
    """A ranker that a network cannot have, or a score that is no finite number: one line."""


def parameters(network: nn.Module, images: Tensor) -> float:
    """How many parameters there are."""
    return float(sum(parameter.numel() for parameter in network.parameters()))


def macs(network: nn.Module, images: Tensor) -> float:
    """Multiply-accumulates of one image in convolutions and linear maps."""
    return float(count_macs(network.to("meta").eval(), images[:1].to("meta")))


def synflow(network: nn.Module, images: Tensor) -> float:
    """The logarithm of |w dR/dw| over all weights, summed (Tanaka et al., arXiv 2006.05467). No data is read.

    R is the sum of the outputs for one image of ones, with every parameter replaced by its absolute value and batch
    norms bypassed. In float64, on the CPU because not every device has it: products over many layers are large.
    """
    network = network.to("cpu", torch.float64)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())
    weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    with torch.enable_grad():
        flow = network(torch.ones(1, *images.shape[1:], dtype=torch.float64))[0].sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    total = sum((weight * gradient).abs().sum().item() for weight, gradient in zip(weights, gradients, strict=True))
    return math.log(total) if total > 0 else -math.inf


def jacob_cov(network: nn.Module, images: Tensor) -> float:
    """How little the input Jacobians of the images are correlated (Mellor et al., arXiv 2006.04647, first version).

    Minus the sum of ln(v + k) + 1 / (v + k) over the eigenvalues v of their correlation matrix, k = 1e-5.
    """
    with torch.enable_grad():
        images = images.detach().clone().requires_grad_(True)
        (jacobian,) = torch.autograd.grad(network(images)[0].sum(), images)  # (N, 3, H, W)
    correlation = torch.corrcoef(jacobian.flatten(1).cpu().double())  # (N, N)
    if not correlation.isfinite().all():  # an image that nothing depends on
        return math.nan
    v = torch.linalg.eigvalsh(correlation) + JITTER  # (N,)
    return -(v.log() + 1 / v).sum().item()


@torch.no_grad()
def nwot(network: nn.Module, images: Tensor) -> float:
    """How differently the images switch the activations (Mellor et al., arXiv 2006.04647).

    The code of an image is the sign of the input of every Mish and ReLU; the score is the logarithm of the determinant
    of the matrix whose entries count in how many places two codes agree. Images of equal codes make it zero: no score.
    """
    codes: list[Tensor] = []
    layers = [layer for layer in network.modules() if isinstance(layer, Mish | nn.ReLU | Rectified)]
    if not layers:
        raise ProxyError(
            "the ranker nwot reads the inputs of activations, and the network has none as layers of its own"
        )
    for layer in layers:
        layer.register_forward_pre_hook(lambda _layer, inputs: codes.append((inputs[0] > 0).flatten(1)))
    network(images)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)  # (N, N)
    for code in codes:
        signs = 2 * code.cpu().double() - 1  # (N, places); a product is 1 where two agree, else -1
        kernel += (signs @ signs.T + signs.shape[1]) / 2
    sign, logarithm = torch.linalg.slogdet(kernel)
    return logarithm.item() if sign > 0 else -math.inf


# By the name that --rank_by takes.
PROXIES: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "parameters": parameters,
    "macs": macs,
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "nwot": nwot,
}


READ_IMAGES = ("jacob_cov", "nwot")  # one batch; the others look at no image of the data
# What ``zero_cost`` stands for: the combination that held on two settings before it was tried on a third
# (docs/results.md).
ZERO_COST = ("parameters", "jacob_cov", "nwot")


@dataclass(frozen=True)
class ProxyRanker:
    """A ranker by an entry of PROXIES: scores the network that a genotype will be retrained as, with fresh weights.

    The weights depend on ``seed`` and on the genotype, so the order of the candidates does not matter. ``images``: one
    batch, resized where the network will see another size.
    """

    name: str
    deployment: Deployment
    seed: int
    images: Tensor

    def __call__(self, genotype: Genotype) -> float:
        """The score of a genotype; higher is better. Raises ProxyError where there is none."""
        score = PROXIES[self.name](self.network(genotype), self._resized())
        if not math.isfinite(score):
            raise ProxyError(f"the ranker {self.name} gives {score} for a network: rank by another one")
        return score

    def network(self, genotype: Genotype) -> Network:
        """The network that is scored, without auxiliary heads: the same one in every process and on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.seed, "proxy", genotype.to_lists()))
            network = Network.of(genotype, replace(self.deployment.spec, aux=False))
        return network.to(self.images.device)

    def _resized(self) -> Tensor:
        side = self.deployment.image_size
        if self.images.shape[-1] == side:
            return self.images
        return F.interpolate(self.images, size=(side, side), mode="bilinear", align_corners=False)
