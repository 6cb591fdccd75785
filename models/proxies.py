"""Rankers that need no training: scores of an untrained network, higher is better (docs/strategies.md, section 15).

All take a network that gives ``(outputs, auxiliary outputs)``, images (N, 3, H, W), targets and a criterion of outputs
and targets. They work on a copy without auxiliary heads, so the network stays as it was, and in training mode: the
running statistics of a fresh batch norm say nothing, those of the batch do. *Weights* are those of convolutions and
linear maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import wraps

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from models.deployment import Deployment
from models.network import Network
from models.parts import count_macs
from ops.genotype import Genotype
from ops.layers import Mish
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed

JITTER = 1e-5  # added to eigenvalues, which may be zero
Criterion = Callable[[Tensor, Tensor], Tensor]
Proxy = Callable[[nn.Module, Tensor, Tensor, Criterion], float]


class ProxyError(UsageError, ValueError):
    """A ranker that a network cannot have, or a score that is no finite number: one line."""


def _on_a_copy(measure: Proxy) -> Proxy:
    """Let a ranker have a copy of its own, and refuse with ProxyError a score that is not finite."""
    name = measure.__name__

    @wraps(measure)
    def measured(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
        # Auxiliary heads would count in every score, and are not deployed.
        twin = deepcopy(network).train()
        if hasattr(twin, "aux_heads"):
            twin.aux_heads = nn.ModuleList()
        for parameter in twin.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        with torch.enable_grad():
            score = measure(twin, images.detach(), targets, criterion)
        if not math.isfinite(score):
            raise ProxyError(f"the ranker {name} gives {score} for a network: rank by another one")
        return score

    return measured


@_on_a_copy
def parameters(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """How many parameters there are, auxiliary heads left out."""
    return float(sum(parameter.numel() for parameter in network.parameters()))


@_on_a_copy
def macs(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """Multiply-accumulates of one image in convolutions and linear maps."""
    return float(count_macs(network.to("meta").eval(), images[:1].to("meta")))


@_on_a_copy
def grad_norm(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """The norms of the gradients of all weights, summed (Abdelfattah et al., arXiv 2101.08134)."""
    criterion(network(images)[0], targets).backward()
    return _total(gradient.norm() for _, gradient in _weights(network))


@_on_a_copy
def snip(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """|w dL/dw| over all weights w, summed (Lee et al., arXiv 1810.02340)."""
    criterion(network(images)[0], targets).backward()
    return _total((weight * gradient).abs().sum() for weight, gradient in _weights(network))


@_on_a_copy
def synflow(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """The logarithm of |w dR/dw| over all weights, summed (Tanaka et al., arXiv 2006.05467). No data is read.

    R is the sum of the outputs for one image of ones, with every parameter replaced by its absolute value and batch
    norms bypassed. In float64, on the CPU because not every device has it: products over many layers are large.
    """
    # Absolute weights without norms: the product of all weights along every way through the network.
    network = _without_norms(network).to("cpu", torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones(1, *images.shape[1:], dtype=torch.float64))[0].sum().backward()
    total = _total((weight * gradient).abs().sum() for weight, gradient in _weights(network))
    return math.log(total) if total > 0 else -math.inf


@_on_a_copy
def jacob_cov(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """How little the input Jacobians of the images are correlated (Mellor et al., arXiv 2006.04647, first version).

    Minus the sum of ln(v + k) + 1 / (v + k) over the eigenvalues v of their correlation matrix, k = 1e-5.
    """
    images = images.clone().requires_grad_(True)
    (jacobian,) = torch.autograd.grad(network(images)[0].sum(), images)  # (N, 3, H, W)
    correlation = torch.corrcoef(jacobian.flatten(1).cpu().double())  # (N, N)
    if not correlation.isfinite().all():  # an image that nothing depends on
        return math.nan
    v = torch.linalg.eigvalsh(correlation) + JITTER  # (N,)
    return -(v.log() + 1 / v).sum().item()


@_on_a_copy
def nwot(network: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> float:
    """How differently the images switch the activations (Mellor et al., arXiv 2006.04647).

    The code of an image is the sign of the input of every Mish; the score is the logarithm of the determinant of the
    matrix whose entries count in how many places two codes agree. Images of equal codes make it zero: no score.
    """
    codes: list[Tensor] = []
    layers = [layer for layer in network.modules() if isinstance(layer, Mish)]
    if not layers:
        raise ProxyError("the ranker nwot reads the inputs of Mish, and the network has none: rank by another one")
    for layer in layers:  # of the copy: hooks need not be removed
        layer.register_forward_pre_hook(lambda _layer, inputs: codes.append((inputs[0] > 0).flatten(1)))
    with torch.no_grad():
        network(images)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)  # (N, N)
    for code in codes:
        signs = 2 * code.cpu().double() - 1  # (N, places); a product is 1 where two agree, else -1
        kernel += (signs @ signs.T + signs.shape[1]) / 2
    sign, logarithm = torch.linalg.slogdet(kernel)
    return logarithm.item() if sign > 0 else -math.inf


# By the name that --rank_by takes.
PROXIES: dict[str, Proxy] = {
    "parameters": parameters,
    "macs": macs,
    "grad_norm": grad_norm,
    "snip": snip,
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "nwot": nwot,
}


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
    targets: Tensor
    criterion: Criterion

    def __call__(self, genotype: Genotype) -> float:
        """The score of a genotype; higher is better. Raises ProxyError where there is none."""
        return PROXIES[self.name](self.network(genotype), self._resized(), self.targets, self.criterion)

    def network(self, genotype: Genotype) -> Network:
        """The network that is scored: the same one in every process and on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.seed, "proxy", genotype.to_lists()))
            network = Network.of(genotype, replace(self.deployment.spec, aux=False))
        return network.to(self.images.device)

    def _resized(self) -> Tensor:
        side = self.deployment.image_size
        if self.images.shape[-1] == side:
            return self.images
        return F.interpolate(self.images, size=(side, side), mode="bilinear", align_corners=False)


def _weights(network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and gradient of every convolution and linear map that the loss depends on."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.grad is not None:
            yield layer.weight.detach(), layer.weight.grad


def _total(values: Iterator[Tensor]) -> float:
    """The sum of scalars, read from the device once."""
    scalars = list(values)
    return torch.stack(scalars).cpu().double().sum().item() if scalars else math.nan


def _without_norms(network: nn.Module) -> nn.Module:
    """Replace the batch norms in a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())
    return network
