"""Relaxed choices: what they stand for, how they start and go on, and the published derivation."""

import json
import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from controller.relaxation import Relaxation, strongest
from controller.sampling import NothingFitsError
from ops.genotype import Genotype, parse_genotype
from ops.space import DARTS

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "darts_architect.json").read_text())


def relaxed(seed: int = 0) -> Relaxation:
    return Relaxation(2, "type", generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def moved(seed: int = 0) -> Relaxation:
    """A relaxation far from its start."""
    found, generator = relaxed(), torch.Generator().manual_seed(seed)
    for table in found.parameters:
        table.copy_(torch.randn(table.shape, generator=generator))
    return found


@pytest.mark.parametrize("case", GOLDEN["genotypes"])
def test_the_published_derivation_gives_the_published_genotypes(case):
    found = relaxed()
    for own, name in zip(found.parameters, ("normal", "reduce"), strict=True):
        own.data = torch.tensor(case.get(f"alphas_{name}", [[0.0] * 8] * 14), dtype=torch.float64)
    assert found.argmax() == parse_genotype(json.dumps(case["genotype"]))


def test_an_edge_is_as_strong_as_its_largest_share_but_that_of_none():
    """The largest logit is on an edge that is mostly none: by logits that edge would be kept."""
    logits = torch.zeros(14, 8)
    logits[0, 0], logits[0, 5] = 9.0, 5.0
    encoding = strongest(logits.softmax(1), DARTS)
    assert encoding[:4] == [1, 0, 0, 4]
    assert encoding[4:] == [0, 0, 1, 0] * 3, "ties: the lower input, the first operation"


def test_logits_start_near_zero_and_the_same_for_the_same_seed():
    found, again, other = relaxed(), relaxed(), relaxed(seed=1)
    logits = torch.cat([table.flatten() for table in found.parameters])
    assert logits.std().item() == pytest.approx(1e-3, rel=0.2)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters, again.parameters, strict=True))
    assert not torch.equal(found.parameters[0], other.parameters[0])


def test_tables_are_those_of_the_edges():
    assert [tuple(table.shape) for table in relaxed().parameters] == [(14, 8)] * 2


def test_cells_of_a_kind_share_their_weights_and_only_learning_keeps_gradients():
    found = moved()
    first, again, reduction = (found.mixture().cell(0, b, r) for b, r in ((0, False), (3, False), (1, True)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], reduction[0])
    assert not first[0].requires_grad
    assert found.mixture(learning=True).cell(0, 0, False)[0].requires_grad
    with torch.no_grad():
        assert not found.mixture(learning=True).cell(0, 0, False)[0].requires_grad


def test_a_mixture_follows_the_steps_and_a_step_lowers_what_its_gradient_raises():
    found = moved()
    mixture = found.mixture()
    before = mixture.cell(0, 0, False)[-1].clone()
    gradients = [torch.zeros_like(table) for table in found.parameters]
    gradients[0][-1, 2] = 1.0
    own = found.parameters[0][-1].clone()
    found.step(gradients)
    assert not torch.equal(mixture.cell(0, 0, False)[-1], before)
    assert found.parameters[0][-1, 2].item() == pytest.approx(own[2].item() - 3e-4, rel=1e-3)


def test_it_goes_on_exactly():
    left, right = moved(), relaxed(seed=5)
    gradients = [torch.full_like(table, 0.1) * (1 + i) for i, table in enumerate(left.parameters)]
    left.step(gradients)
    right.load_state_dict(deepcopy(left.state_dict()))
    for found in (left, right):
        found.step([-3 * gradient for gradient in gradients])
    assert all(torch.equal(a, b) for a, b in zip(left.parameters, right.parameters, strict=True))


def test_all_that_is_drawn_is_what_it_stands_for():
    found, generator = relaxed(), torch.Generator()
    assert set(found.sample(3, generator)) == {found.argmax()}
    assert isinstance(found.argmax(), Genotype)
    with pytest.raises(NothingFitsError):
        found.sample(1, generator, lambda _genotype: False)


def test_entropy_is_the_mean_of_all_edges_and_falls_as_a_mixture_leaves_the_uniform_one():
    assert relaxed().entropy() == pytest.approx(math.log(8), rel=1e-4)
    assert 0 <= relaxed().kl_from_uniform() < 1e-5
    far = moved()
    rows = torch.cat(far.parameters).detach().double().softmax(1)
    kl = torch.nn.functional.kl_div(torch.full_like(rows, 1 / 8).log(), rows, reduction="sum") / len(rows)
    assert far.kl_from_uniform() == pytest.approx(kl.item())
    assert far.entropy() < math.log(8)


def test_adam_is_the_published_one():
    case = GOLDEN["steps"][0]
    for order in ("first_order", "second_order"):
        found = relaxed()
        for own, name in zip(found.parameters, ("normal", "reduce"), strict=True):
            own.data = torch.tensor(case[f"alphas_{name}"], dtype=torch.float64)
        found.step([torch.tensor(case[order]["gradient"][name], dtype=torch.float64) for name in ("normal", "reduce")])
        for own, name in zip(found.parameters, ("normal", "reduce"), strict=True):
            expected = torch.tensor(case[order]["alphas_after_one_step"][name], dtype=torch.float64)
            torch.testing.assert_close(own.detach(), expected, rtol=1e-8, atol=1e-8)
