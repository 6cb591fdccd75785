import json
import math
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch

from controller.policy import Controller
from ops.genotype import Genotype, num_cells
from ops.space import SLNAS
from tests.golden_weights import draw

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "controller_log_probs.json").read_text())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sharp(cells: int = 1, sharing: str = "block") -> Controller:
    """A controller whose distributions differ clearly from uniform."""
    controller = Controller(cells, sharing)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.mul_(12)
    return controller


def golden_controller() -> Controller:
    controller = Controller(1, "block").double()
    for name, parameter in controller.named_parameters():
        key = name.replace("embedding.weight", "embedding")
        for part in ("anchor", "query", "score"):
            key = key.replace(f"connection.{part}.weight", f"connection.attention.{part}")
        scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.1
        if "embedding" in key or key.endswith("score"):
            scale = 1.0
        parameter.data = draw(key, tuple(parameter.shape)) * scale
    return controller


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_golden_probabilities(case):
    controller = golden_controller()
    genotype = Genotype((tuple(case["encoding"]),), "block")
    [(connections, operations)] = controller.probabilities(genotype)
    assert len(connections) == len(operations) == 2 * SLNAS.nodes
    for ours, theirs in zip(connections + operations, case["connection_probs"] + case["operation_probs"], strict=True):
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-8, atol=1e-10)
    nll = case["connection_nll"] + case["operation_nll_sum"]
    assert -controller.log_prob([genotype]).item() == pytest.approx(nll, rel=1e-9)


@pytest.mark.parametrize(("sharing", "blocks"), [("type", [1, 1]), ("stage", [1, 0, 2]), ("block", [1, 1])])
def test_log_prob_is_the_number_that_sample_gave(sharing, blocks):
    controller = sharp(num_cells(sharing, blocks), sharing).double()
    sample = controller.sample(7, generator(1))
    torch.testing.assert_close(controller.log_prob(sample.genotypes), sample.log_prob, rtol=1e-12, atol=1e-12)
    for genotype in sample.genotypes:
        genotype.require_fit(blocks)


def test_the_seed_alone_decides_the_sample():
    controller = Controller(2)
    first = controller.sample(5, generator(3))
    torch.rand(10)
    assert controller.sample(5, generator(3)).genotypes == first.genotypes
    assert controller.sample(5, generator(4)).genotypes != first.genotypes


def test_sampled_frequencies_match_the_stated_probabilities():
    controller = sharp()
    n = 4000
    with torch.no_grad():
        genotypes = controller.sample(n, generator(0)).genotypes
    stated = controller.probabilities(genotypes[0])[0][0][0]  # the first choice depends on nothing
    seen = Counter(genotype.cells[0][0] for genotype in genotypes)
    for option, p in enumerate(stated.tolist()):
        assert abs(seen[option] / n - p) < 4 * math.sqrt(p * (1 - p) / n)
    # Of those that share all connections of node 0, the second node's first input follows its conditional.
    groups = Counter(genotype.cells[0][0:1] + genotype.cells[0][2:3] for genotype in genotypes)
    group, size = groups.most_common(1)[0]
    members = [g for g in genotypes if (g.cells[0][0], g.cells[0][2]) == group]
    stated = controller.probabilities(members[0])[0][0][2]
    seen = Counter(g.cells[0][4] for g in members)
    for option, p in enumerate(stated.tolist()):
        assert abs(seen[option] / size - p) < 4.5 * math.sqrt(p * (1 - p) / size)


def test_batched_and_single_sampling_agree_in_distribution():
    controller = sharp()
    n = 600
    with torch.no_grad():
        batched = controller.sample(n, generator(0)).genotypes
        source = generator(1)
        single = [controller.sample(1, source).genotypes[0] for _ in range(n)]
    for position in range(20):
        a, b = (Counter(g.cells[0][position] for g in group) for group in (batched, single))
        for option in set(a) | set(b):
            p = (a[option] + b[option]) / (2 * n)
            assert abs(a[option] - b[option]) / n < 4.5 * math.sqrt(2 * p * (1 - p) / n) + 1e-9


def test_the_probabilities_of_all_continuations_sum_to_one():
    controller = sharp().double()
    base = list(controller.sample(1, generator(0)).genotypes[0].cells[0])
    variants = []
    for op_1, op_2 in product(range(len(SLNAS.operations)), repeat=2):  # the last node's operations, all else fixed
        variants.append(Genotype(((*base[:17], op_1, base[18], op_2),), "block"))
    total = controller.log_prob(variants).logsumexp(0)
    rest = controller.probabilities(variants[0])[0]
    fixed = sum(lp[index].log() for lp, index in zip(rest[0] + rest[1][:8], base[0::2] + base[1::2][:8], strict=True))
    assert total.item() == pytest.approx(fixed.item(), abs=1e-10)


def test_entropy_is_the_sum_over_choices_and_carries_no_gradient():
    controller = sharp(2, "type").double()
    sample = controller.sample(3, generator(0))
    assert not sample.entropy.requires_grad
    assert sample.log_prob.requires_grad
    for genotype, entropy in zip(sample.genotypes, sample.entropy.tolist(), strict=True):
        distributions = [p for pair in controller.probabilities(genotype) for side in pair for p in side]
        assert entropy == pytest.approx(sum(torch.special.entr(p).sum().item() for p in distributions))


def test_later_encodings_depend_on_earlier_ones():
    controller = sharp(2, "type")
    sample = controller.sample(2, generator(0)).genotypes
    swapped = Genotype((sample[1].cells[0], sample[0].cells[1]))
    # The two start states of an encoding are equal, so its first choice is always even: look at the third.
    second = [controller.probabilities(g)[1][0][2] for g in (sample[0], swapped)]
    assert not torch.allclose(*second)


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


def plain_log_prob(controller: Controller, genotype: Genotype) -> torch.Tensor:
    """The log-probability of a genotype, choice by choice, with torch's own LSTMs."""
    taking, rating, rows = controller.connection, controller.operation, []
    start = taking.embedding.weight[:1]
    state, sides = (torch.zeros(2, 1, 256, dtype=start.dtype).unbind()), None
    for cell in genotype.cells:
        state = taking.lstm(start, state)
        values, keys = [torch.zeros_like(start)] * 2, [taking.anchor(state[0])] * 2
        for first in range(0, 20, 4):
            x = start
            for index in (cell[first], cell[first + 2]):
                state = taking.lstm(x, state)
                logits = torch.cat([taking.score((key + taking.query(state[0])).tanh()) for key in keys], dim=1)
                rows.append((1.1 * (logits / 5).tanh()).log_softmax(1)[0, index])
                x = values[index]
            state = taking.lstm(x, state)
            values.append(state[0])
            keys.append(taking.anchor(state[0]))
        hidden, sides = rating.lstm(rating.embedding(torch.tensor([cell[0::2]])), sides)
        table = (1.1 / 2.5 * (rating.classifier(hidden) / 5).tanh()).log_softmax(2)[0]
        rows += [row[op] for row, op in zip(table, cell[1::2], strict=True)]
    return torch.stack(rows).sum()


def test_log_probs_and_gradients_are_those_of_torchs_own_lstms():
    controller = Controller(2).double()
    genotypes = controller.sample(2, generator(0)).genotypes
    plain = torch.stack([plain_log_prob(controller, genotype) for genotype in genotypes])
    values = [controller.log_prob(genotypes), plain]
    torch.testing.assert_close(*values, rtol=1e-13, atol=1e-13)
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    slopes = [torch.autograd.grad((v * weight).sum(), [*controller.parameters()]) for v in values]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-13)
