"""Architecture gradients: against exact derivatives, and what they leave as it was."""

import copy
import json
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from controller.relaxation import relax
from data.loaders import Batch
from engine.architect import Architect
from engine.setup import make_sgd
from engine.tasks.classification import Classification
from models.supernet import SuperNet
from tests.golden_stacks import fill

TASK = Classification.search()
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "darts_architect.json").read_text())


class Smooth(nn.Module):
    """Two layers whose units are scaled by the mixture of one cell each: twice differentiable everywhere."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(12, 14), nn.Linear(14, 10), nn.BatchNorm1d(14)

    def forward(self, images, mixture):
        hidden = torch.tanh(self.norm(self.first(images.flatten(1))))  # (N, 14)
        scales = [mixture.cell(0, 0, is_reduction) for is_reduction in (False, True)]  # (14, 8) each
        mixed = hidden * scales[0][:, 1] + hidden.sin() * scales[0][:, 2] + hidden.square() * scales[1][:, 3]
        return self.second(mixed), []


def batch(seed: int, size: tuple[int, ...] = (6, 3, 2, 2)) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, generator=generator, dtype=torch.float64)
    return Batch(images, torch.randint(10, size[:1], generator=generator))


def parts(order: int, momentum: bool = True):
    """A smooth model after one step, or before any, and what moves its architecture."""
    torch.manual_seed(0)
    model, relaxed = Smooth().double(), relax(2, "type", "darts")
    for table in relaxed.parameters:
        table.data = torch.randn_like(table, dtype=torch.float64)
    optimizer = make_sgd(model.parameters(), 0.05, momentum=0.9, weight_decay=3e-4)
    if momentum:
        prior = batch(1)
        F.cross_entropy(model(prior.images, relaxed.mixture())[0], prior.labels).backward()
        optimizer.step()
    return model, relaxed, optimizer, Architect(model, relaxed, optimizer, TASK, order)


def exact(model, relaxed, optimizer, train, valid) -> list[torch.Tensor]:
    """The derivative of the validation loss behind the next step of SGD, by differentiating through that step."""
    lr = optimizer.param_groups[0]["lr"]
    named = dict(model.named_parameters())
    loss = F.cross_entropy(model(train.images, relaxed.mixture(learning=True))[0], train.labels)
    slopes = torch.autograd.grad(loss, named.values(), create_graph=True)
    moved = {}
    for (name, weight), slope in zip(named.items(), slopes, strict=True):
        buffer = optimizer.state[weight].get("momentum_buffer", torch.zeros_like(weight))
        moved[name] = weight - lr * (0.9 * buffer + slope + 3e-4 * weight)
    outputs, _ = functional_call(model, moved, (valid.images, relaxed.mixture(learning=True)))
    return list(torch.autograd.grad(F.cross_entropy(outputs, valid.labels), relaxed.parameters))


def distance(found, expected) -> float:
    """Relative, over all values."""
    found, expected = (torch.cat([x.flatten() for x in many]) for many in (found, expected))
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("momentum", [True, False])
def test_the_second_order_is_the_exact_derivative_but_for_its_finite_difference(momentum):
    model, relaxed, optimizer, architect = parts(2, momentum)
    train, valid = batch(2), batch(3)
    found, expected = architect.gradient(train, valid), exact(model, relaxed, optimizer, train, valid)
    first = Architect(model, relaxed, optimizer, TASK, 1).gradient(train, valid)
    assert distance(found, expected) < 1e-4
    assert distance(first, expected) > 100 * distance(found, expected), "the first order is another gradient"


def test_the_first_order_is_the_derivative_of_the_validation_loss():
    model, relaxed, _, architect = parts(1)
    valid = batch(3)
    loss = F.cross_entropy(model(valid.images, relaxed.mixture(learning=True))[0], valid.labels)
    expected = torch.autograd.grad(loss, relaxed.parameters)
    assert distance(architect.gradient(batch(2), valid), expected) < 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_weights_statistics_gradients_and_momentum_stay_to_the_last_bit(order):
    model, relaxed, optimizer, architect = parts(order)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
    gradients = [weight.grad.clone() for weight in model.parameters()]
    own = [table.clone() for table in relaxed.parameters]
    architect.step(batch(2), batch(3))
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    for key, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], before[1][key]["momentum_buffer"])
    assert all(torch.equal(w.grad, g) for w, g in zip(model.parameters(), gradients, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(relaxed.parameters, own, strict=True))


def test_an_error_within_leaves_the_weights_as_they_were():
    model, _, _, architect = parts(2)
    before, valid = copy.deepcopy(model.state_dict()), batch(3)
    with pytest.raises(RuntimeError):
        architect.gradient(batch(2), valid._replace(images=valid.images[:, :2]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_mixture_of_our_own_space_has_gradients_for_every_choice():
    torch.manual_seed(0)
    supernet, relaxed = SuperNet((1,), 4, 10).double(), relax(2, "type", "slnas")
    for table in relaxed.parameters:
        table.data = table.data.double()
    optimizer = make_sgd(supernet.parameters(), 0.05, momentum=0.9, weight_decay=3e-4)
    train, valid = batch(2, (4, 3, 16, 16)), batch(3, (4, 3, 16, 16))
    for order in (1, 2):
        gradients = Architect(supernet, relaxed, optimizer, TASK, order).gradient(train, valid)
        for encoding in (0, 1):
            inputs, operations = gradients[2 * encoding : 2 * encoding + 2]
            assert operations.count_nonzero() == operations.numel()
            assert all(inputs[e].count_nonzero() == e // 2 + 2 for e in range(10))


def golden_parts(case, order: int):
    """The published supernet, architecture and SGD, before any step."""
    supernet = SuperNet((case["layers"],), case["channels"], case["classes"], "plain", space="darts").double()
    fill(supernet)
    relaxed = relax(2, "type", "darts", lr=case["arch_lr"], weight_decay=case["arch_weight_decay"])
    for table, name in zip(relaxed.parameters, ("normal", "reduce"), strict=True):
        table.data = torch.tensor(case[f"alphas_{name}"], dtype=torch.float64)
    optimizer = make_sgd(
        supernet.parameters(), case["lr"], momentum=case["momentum"], weight_decay=case["weight_decay"]
    )
    return supernet, relaxed, optimizer, Architect(supernet, relaxed, optimizer, TASK, order)


def golden_batch(case, name: str) -> Batch:
    shape = (case["batch"], 3, case["image_size"], case["image_size"])
    images = numpy.random.default_rng(case["input_seeds"][name]).standard_normal(shape)
    return Batch(torch.from_numpy(images), torch.tensor(case["labels"][name]))


def check(tables, expected) -> None:
    for found, name in zip(tables, ("normal", "reduce"), strict=True):
        wanted = torch.tensor(expected[name], dtype=torch.float64)
        torch.testing.assert_close(found.detach(), wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", GOLDEN["steps"])
def test_the_published_steps_of_the_architecture(case, order):
    supernet, relaxed, optimizer, architect = golden_parts(case, order)
    expected = case[("first_order", "second_order")[order - 1]]
    train, valid, valid2 = (golden_batch(case, name) for name in ("train", "valid", "valid2"))
    if order == 2:
        check(architect.gradient(train, valid), case["second_order_without_momentum"]["gradient"])
    prior = golden_batch(case, "prior")
    F.cross_entropy(supernet(prior.images, relaxed.mixture())[0], prior.labels).backward()
    nn.utils.clip_grad_norm_(supernet.parameters(), case["clip"])
    optimizer.step()
    gradient = architect.gradient(train, valid)
    check(gradient, expected["gradient"])
    relaxed.step(gradient)
    check(relaxed.parameters, expected["alphas_after_one_step"])
    architect.step(train, valid2)
    check(relaxed.parameters, expected["alphas_after_two_steps"])
