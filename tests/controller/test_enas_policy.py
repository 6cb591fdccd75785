"""The controller of ENAS against a plain walk with torch's cell, and how it is taught."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from controller.enas_policy import EnasController
from controller.reinforce import ENAS_EPS, OPTIMIZERS
from controller.samplers import LogitScale
from controller.strategies import make_strategy
from ops.genotype import Genotype
from ops.space import ENAS, SPACES, CellSpace
from tests.genes import source, stored

ARCH = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"  # that its authors train


def policy(space: str = "enas", **options) -> EnasController:
    torch.manual_seed(0)
    made = EnasController(2, "type", space, **options).double()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name == "operation.bias":
                parameter.mul_(0.1)  # 10 leaves its slope no digits
            else:
                parameter.mul_(6)
    return made


def walk(policy: EnasController, genotype: Genotype) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probability, entropy) of one genotype, choice by choice, in the order of the published program."""
    cell = nn.LSTMCell(64, 64, bias=False).double()
    wide = {"weight_ih": policy.lstm.weight[:, :64], "weight_hh": policy.lstm.weight[:, 64:]}
    start, sure = policy.start[0], torch.tensor([0.25, 0.25, -0.25, -0.25, -0.25], dtype=torch.float64)
    h = c = torch.zeros(64, dtype=torch.float64)
    total, entropy = 0.0, 0.0

    def step(x):
        nonlocal h, c
        h, c = torch.func.functional_call(cell, wide, (x, (h, c)))

    def take(logits, choice):
        nonlocal total, entropy
        total = total - F.cross_entropy(logits, torch.tensor(choice))
        entropy = entropy + torch.distributions.Categorical(logits=logits).entropy()

    for number, encoding in enumerate(genotype.cells):
        values, keys = [], []
        for _ in range(2):
            step(start)
            values.append(torch.zeros(64, dtype=torch.float64))
            keys.append(policy.anchor.weight @ h)
        for first in range(0, 20, 4):
            x = start
            for place in (first, first + 2):
                step(x)
                scores = torch.stack([policy.score.weight[0] @ (k + policy.query.weight @ h).tanh() for k in keys])
                take(1.1 * scores.tanh(), encoding[place])
                x = values[encoding[place]]
            for place in (first + 1, first + 3):
                step(x)
                logits = 1.1 / 2.5 * (policy.operation.weight @ h + policy.operation.bias).tanh()
                take(logits + sure if number == 0 else logits, encoding[place])
                x = policy.embedding.weight[encoding[place]]
            step(x)
            values.append(h)
            keys.append(policy.anchor.weight @ h)
    return total, entropy


def test_probabilities_and_gradients_are_those_of_a_plain_walk():
    made = policy()
    numbers = tuple(map(int, ARCH.split()))
    genotypes = [Genotype((numbers[:20], numbers[20:]), space="enas"), *made.draw(2, source())[0]]
    judged = made.judge(genotypes)
    plain = [torch.stack(column) for column in zip(*(walk(made, g) for g in genotypes), strict=True)]
    weight = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    for ours, theirs in zip(judged, plain, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        slopes = [
            torch.autograd.grad((v * weight).sum(), [*made.parameters()], retain_graph=True) for v in (ours, theirs)
        ]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)
        assert all(slope.any() for slope in slopes[0])


def test_the_parts_count_41733_in_its_own_space():
    """Start 64, operations 5 x 64 in and 64 x 5 out with a bias of 5, LSTM 128 x 256, attention 2 x 64 x 64 and 64."""
    made = EnasController(2, "type", "enas")
    assert sum(p.numel() for p in made.parameters()) == 64 + 2 * 5 * 64 + 5 + 128 * 256 + 2 * 64 * 64 + 64 == 41_733
    assert made.operation.bias.tolist() == [10, 10, 0, 0, 0]
    assert made.state_dict().keys() == dict(made.named_parameters()).keys(), "what is fixed is not kept"


def test_the_bias_of_convolutions_lies_where_nothing_moves_it():
    """The tanh of 10 is 1 in float32, so the published start bias stays what it is."""
    torch.manual_seed(0)
    made = EnasController(2, "type", "enas")
    made.draw(8, source())[1].log_prob.sum().backward()
    assert made.operation.bias.grad.bool().tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("space", [name for name, s in SPACES.items() if s.searched and isinstance(s, CellSpace)])
def test_at_first_convolutions_are_likelier_and_most_in_the_first_encoding(space):
    made = EnasController(2, "type", space)
    convolve = torch.tensor(["conv" in name or "shuffle" in name for name in SPACES[space].operations])
    normal, reduction = (
        torch.stack(tables[1]) for tables in made.probabilities(made.argmax())
    )  # (choices, operations)
    assert (normal[:, convolve].amin(1) > normal[:, ~convolve].amax(1)).all()
    assert (normal[:, convolve].sum(1) > reduction[:, convolve].sum(1)).all()
    if space == "enas":
        for lean, tables in ((0.25, normal), (0.0, reduction)):  # logits 0.44 and 0, moved by the lean
            high, low = math.exp(0.44 + lean), math.exp(-lean)
            torch.testing.assert_close(tables[:, 0], torch.full((10,), high / (2 * high + 3 * low)), rtol=0.03, atol=0)


def test_the_likeliest_choice_is_taken_everywhere_and_the_bounds_are_those_given():
    made = policy(logit_scale=LogitScale(connection_bound=2.5, operation_bound=5.0, temperature=0.05))
    genotype = made.argmax()
    for cell, tables in zip(genotype.cells, made.probabilities(genotype), strict=True):
        for genes, rows in zip((cell[0::2], cell[1::2]), tables, strict=True):
            assert all(row[gene] == row.max() for gene, row in zip(genes, rows, strict=True))
        for bound, rows in zip((5.0, 10.5), tables, strict=True):  # twice the bound, and the lean
            assert max((row.max() / row.min()).log().item() for row in rows) <= bound + 1e-9
    assert max((row.max() / row.min()).log().item() for row in tables[0]) > 2.2, "the published bound"


def test_a_paid_operation_becomes_likelier():
    torch.manual_seed(0)
    options = {"lr": 2e-2, "optimizer": "enas_adam", "entropy_weight": 1e-2, "advantage": "normalised"}
    strategy, generator = make_strategy("rl", 2, "type", "enas", controller="enas", **options), source()

    def probability() -> float:
        found = strategy.sample(8, source(1))
        tables = [torch.stack(ops) for g in found for _, ops in strategy.controller.probabilities(g)]
        return torch.stack(tables)[..., 4].mean().item()

    before = probability()
    assert before == pytest.approx(0.14, abs=0.01)
    for _ in range(20):
        genotypes = strategy.ask(10, generator)
        strategy.tell([float(sum(op == 4 for cell in g.cells for op in cell[1::2])) for g in genotypes])
    assert probability() > before + 0.006, "of the 0.08 that the bounds leave to it beside the convolutions"


def test_its_adam_is_that_of_the_published_program_for_rewards_in_percent():
    """The step by hand for a hundredth of the gradient and the published eps, which TensorFlow adds to the raw root."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer, value, square = OPTIMIZERS["enas_adam"]([parameter], 3.5e-3), parameter.detach().clone(), torch.zeros(2)
    for step in range(1, 6):
        gradient = torch.tensor([0.3 * step, -0.002], dtype=torch.float64)
        square = 0.999 * square + 0.001 * (gradient / 100) ** 2
        value = value - 3.5e-3 * math.sqrt(1 - 0.999**step) * (gradient / 100) / (square.sqrt() + 1e-3)
        parameter.grad = gradient
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-12, atol=0)
    assert pytest.approx(100 * 1e-3) == ENAS_EPS


@pytest.mark.parametrize("space", [ENAS.name, "darts"])
def test_a_saved_learner_goes_on_bit_for_bit(space):
    def make():
        options = {"lr": 3.5e-3, "optimizer": "enas_adam", "entropy_in_loss": 0.1, "updates": 8}
        return make_strategy("rl", 2, "type", space, controller="enas", **options)

    def play(strategy, generator):
        return [strategy.tell([float(sum(g.cells[0])) for g in strategy.ask(3, generator)]) for _ in range(4)]

    torch.manual_seed(0)
    straight, generator = make(), source()
    play(straight, generator)
    resumed, twin = make(), generator.clone_state()
    resumed.load_state_dict(stored(straight.state_dict()))
    assert play(resumed, twin) == play(straight, generator)
    for a, b in zip(resumed.controller.parameters(), straight.controller.parameters(), strict=True):
        assert torch.equal(a, b)
