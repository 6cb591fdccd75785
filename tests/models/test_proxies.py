"""Each ranker without training against its formula, written out for a convolution, a Mish and a linear map."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from models.deployment import Deployment
from models.proxies import PROXIES, ProxyError, ProxyRanker
from models.spec import NetworkSpec
from ops.genotype import Genotype
from ops.layers import Mish

N, PLACES, CLASSES = 5, 4 * 4 * 4, 3
SPEC = NetworkSpec((1,), 4, CLASSES)
GENOTYPES = [Genotype((tuple([0, op] * 10),) * 2) for op in (0, 3)]


class TwoLayers(nn.Module):
    """(N, 3, 4, 4) -> logits (N, 3)."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), Mish()
        self.head = nn.Linear(PLACES, CLASSES, bias=False)

    def forward(self, images):
        x = self.act(self.bn(self.conv(images))).flatten(1)
        return self.head(x), []


@pytest.fixture
def case():
    """A network in training mode and images, in float64."""
    torch.manual_seed(0)
    return TwoLayers().double(), torch.randn(N, 3, 4, 4, dtype=torch.float64)


def written_out(network, images):
    """(input of Mish, logits): the network as plain tensor operations, batch statistics by hand."""
    conv, head = (w.detach().clone().requires_grad_() for w in (network.conv.weight, network.head.weight))
    x = torch.einsum("oi,nihw->nohw", conv[:, :, 0, 0], images)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    inner = (x - mean) / (var + 1e-5).sqrt()
    return inner, mish(inner).flatten(1) @ head.T


def mish(x):
    return x * torch.tanh(torch.log(1 + torch.exp(x)))


def by_formula(name, network, images):
    """The score of the two-layer network as docs/strategies.md, section 15, states it."""
    images = images.clone().requires_grad_()
    inner, logits = written_out(network, images)
    if name == "parameters":
        return 3 * 4 + 2 * 4 + PLACES * CLASSES
    if name == "macs":
        return 16 * 3 * 4 + PLACES * CLASSES
    if name == "synflow":
        conv, head = (w.detach().abs().requires_grad_() for w in (network.conv.weight, network.head.weight))
        inner = conv.sum((1, 2, 3))[:, None].expand(4, 16).reshape(1, PLACES)  # an image of ones sums the weights
        flow = torch.autograd.grad((mish(inner) @ head.T).sum(), (conv, head))
        return math.log(sum((w * g).abs().sum().item() for w, g in zip((conv, head), flow, strict=True)))
    if name == "jacob_cov":
        (jacobian,) = torch.autograd.grad(logits.sum(), images)
        rows = jacobian.flatten(1) - jacobian.flatten(1).mean(1, keepdim=True)
        rows = rows / rows.norm(dim=1, keepdim=True)
        v = torch.linalg.eigvalsh(rows @ rows.T)
        return -sum(math.log(x + 1e-5) + 1 / (x + 1e-5) for x in v.tolist())
    codes = (inner > 0).flatten(1).tolist()
    kernel = [[sum(x == y for x, y in zip(a, b, strict=True)) for b in codes] for a in codes]
    return torch.tensor(kernel, dtype=torch.float64).logdet()


@pytest.mark.parametrize("name", PROXIES)
def test_a_ranker_computes_its_formula_whatever_the_mode_of_gradients(name, case):
    network, images = case
    expected, seen = float(by_formula(name, network, images)), images.clone()
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            score = PROXIES[name](deepcopy(network), images)
        assert isinstance(score, float)
        assert score == pytest.approx(expected, rel=1e-9)
    assert torch.equal(images, seen)
    assert not images.requires_grad


@pytest.mark.parametrize("name", ["jacob_cov", "nwot"])
def test_a_score_that_is_not_finite_is_refused_in_one_line_that_names_the_ranker(name):
    of_no_images = replace(ranker(name), images=torch.full((6, 3, 16, 16), math.nan))
    with pytest.raises(ValueError, match=f"ranker {name} ") as error:
        of_no_images(GENOTYPES[0])
    assert isinstance(error.value, ProxyError)
    assert "\n" not in str(error.value)


def test_nwot_refuses_networks_without_activations(case):
    network, images = case
    network.act = nn.Tanh()
    with pytest.raises(ProxyError, match="ranker nwot reads the inputs of activations"):
        PROXIES["nwot"](network, images)


def ranker(name, seed=0, side=16):
    images = torch.randn(6, 3, side, side, generator=torch.Generator().manual_seed(1))
    return ProxyRanker(name, Deployment(SPEC, "type", 16), seed, images)


@pytest.mark.parametrize("name", PROXIES)
def test_genotypes_are_scored_alike_whatever_was_drawn_or_scored_before(name):
    scores = [ranker(name)(genotype) for genotype in GENOTYPES]
    torch.manual_seed(7)
    state = torch.get_rng_state()
    again = [ranker(name)(genotype) for genotype in reversed(GENOTYPES)]
    assert scores == again[::-1]
    assert scores[0] != scores[1]
    assert torch.equal(torch.get_rng_state(), state)
    other = ranker(name, seed=1)(GENOTYPES[0])
    assert (other == scores[0]) == (name in ("parameters", "macs"))


def test_costs_are_those_of_the_deployed_network_on_its_own_image_size():
    for genotype in GENOTYPES:
        cost = Deployment(SPEC, "type", 16).cost(genotype)
        assert (ranker("parameters", side=12)(genotype), ranker("macs", side=12)(genotype)) == cost
