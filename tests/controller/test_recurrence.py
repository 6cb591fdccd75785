"""What is walked step by step is torch's LSTM, and what is learned from the walk is its slope."""

import pytest
import torch
from torch import nn

from controller.policy import Controller
from controller.recurrence import StepByStep, lstm_step


@pytest.mark.parametrize("n", [1, 3])
def test_steps_and_their_gradients_are_those_of_the_lstm_of_torch(n):
    torch.manual_seed(0)
    cell, inputs = nn.LSTMCell(4, 5).double(), torch.randn(6, n, 4, dtype=torch.float64)
    start = [torch.randn(n, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    leaves = [*cell.parameters(), *start]

    def ours(h, c):
        recurrent = StepByStep(cell.weight_hh, inputs @ cell.weight_ih.t() + (cell.bias_ih + cell.bias_hh))
        for _ in inputs:
            h, c = lstm_step(recurrent(h), c)
            yield h

    def theirs(h, c):
        for x in inputs:
            h, c = cell(x, (h, c))
            yield h

    found, wanted = (torch.stack(list(walk(*start))) for walk in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(wanted)  # every step counts, each in its way
    gradients = [torch.autograd.grad((hidden * weight).sum(), leaves) for hidden in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("what", ["log_prob", "entropy"])
def test_the_gradient_of_what_is_judged_is_its_slope(what):
    """By central differences along a random direction through all weights of a controller of two encodings."""
    torch.manual_seed(0)
    controller = Controller(2).double()
    genotypes = controller.sample(3, torch.Generator().manual_seed(0)).genotypes
    parameters = list(controller.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(getattr(controller.judge(genotypes), what).sum(), parameters)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()

    @torch.no_grad()
    def moved(by: float) -> float:
        for parameter, d in zip(parameters, direction, strict=True):
            parameter.add_(d, alpha=by)
        value = getattr(controller.judge(genotypes), what).sum().item()
        for parameter, d in zip(parameters, direction, strict=True):
            parameter.sub_(d, alpha=by)
        return value

    step = 1e-5
    assert slope == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-5)


def test_what_cannot_be_chosen_has_no_probability_and_no_part_in_gradients():
    torch.manual_seed(0)
    controller = Controller(1, "block")
    [(connections, operations)] = controller.probabilities(controller.argmax())
    assert [len(p) for p in connections] == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    for p in connections + operations:
        assert p.sum().item() == pytest.approx(1, abs=1e-6)
    judged = controller.judge([controller.argmax()])
    (judged.log_prob + judged.entropy).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in controller.parameters())
