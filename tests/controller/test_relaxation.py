"""Relaxed choices: what they stand for, how they start and go on, and the published derivation."""

import json
import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from controller.relaxation import MixedOperations, relax, strongest
from controller.sampling import NothingFitsError
from ops.genotype import Genotype, parse_genotype
from ops.space import DARTS, SLNAS

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "darts_architect.json").read_text())
SPACES = ("darts", "slnas")


def relaxed(space: str, seed: int = 0, cells: int = 2, sharing: str = "type"):
    return relax(cells, sharing, space, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def moved(space: str, seed: int = 0):
    """A relaxation far from its start."""
    found, generator = relaxed(space), torch.Generator().manual_seed(seed)
    for table in found.parameters:
        table.copy_(torch.randn(table.shape, generator=generator))
    return found


@pytest.mark.parametrize("case", GOLDEN["genotypes"])
def test_the_published_derivation_gives_the_published_genotypes(case):
    found = relaxed("darts")
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


@pytest.mark.parametrize("space", SPACES)
def test_logits_start_near_zero_and_the_same_for_the_same_seed(space):
    found, again, other = relaxed(space), relaxed(space), relaxed(space, seed=1)
    logits = torch.cat([table.flatten() for table in found.parameters])
    assert logits.std().item() == pytest.approx(1e-3, rel=0.2)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters, again.parameters, strict=True))
    assert not torch.equal(found.parameters[0], other.parameters[0])


def test_tables_are_those_of_the_edges():
    assert [tuple(table.shape) for table in relaxed("darts").parameters] == [(14, 8)] * 2
    assert [tuple(table.shape) for table in relaxed("slnas").parameters] == [(10, 6), (10, len(SLNAS.operations))] * 2
    assert len(relaxed("slnas", cells=3, sharing="stage").logits) == 3


def test_an_edge_of_our_space_mixes_the_states_that_exist_and_derives_by_the_largest():
    found = moved("slnas")
    inputs, operations = found.mixture().cell(0, 0, False)
    for edge in range(10):
        assert inputs[edge].count_nonzero() == edge // 2 + 2
    torch.testing.assert_close(inputs.sum(1), torch.ones(10))
    torch.testing.assert_close(operations.sum(1), torch.ones(10))
    encoding = found.argmax().cells[0]
    assert list(encoding[0::2]) == inputs.argmax(1).tolist()
    assert list(encoding[1::2]) == operations.argmax(1).tolist()


@pytest.mark.parametrize("space", SPACES)
def test_cells_of_a_kind_share_their_weights_and_only_learning_keeps_gradients(space):
    found = moved(space)
    first, again, reduction = (found.mixture().cell(0, b, r) for b, r in ((0, False), (3, False), (1, True)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], reduction[0])
    assert not first[0].requires_grad
    assert found.mixture(learning=True).cell(0, 0, False)[0].requires_grad
    with torch.no_grad():
        assert not found.mixture(learning=True).cell(0, 0, False)[0].requires_grad


@pytest.mark.parametrize("space", SPACES)
def test_a_mixture_follows_the_steps_and_a_step_lowers_what_its_gradient_raises(space):
    found = moved(space)
    mixture = found.mixture()
    before = mixture.cell(0, 0, False)[-1].clone()
    gradients = [torch.zeros_like(table) for table in found.parameters]
    target = 0 if space == "darts" else 1
    gradients[target][-1, 2] = 1.0
    own = found.parameters[target][-1].clone()
    found.step(gradients)
    assert not torch.equal(mixture.cell(0, 0, False)[-1], before)
    assert found.parameters[target][-1, 2].item() == pytest.approx(own[2].item() - 3e-4, rel=1e-3)


@pytest.mark.parametrize("space", SPACES)
def test_it_goes_on_exactly(space):
    left, right = moved(space), relaxed(space, seed=5)
    gradients = [torch.full_like(table, 0.1) * (1 + i) for i, table in enumerate(left.parameters)]
    left.step(gradients)
    right.load_state_dict(deepcopy(left.state_dict()))
    for found in (left, right):
        found.step([-3 * gradient for gradient in gradients])
    assert all(torch.equal(a, b) for a, b in zip(left.parameters, right.parameters, strict=True))


@pytest.mark.parametrize(("space", "sharing", "cells"), [("darts", "type", 2), ("slnas", "block", 6)])
def test_all_that_is_drawn_is_what_it_stands_for(space, sharing, cells):
    found, generator = relaxed(space, cells=cells, sharing=sharing), torch.Generator()
    assert set(found.sample(3, generator)) == {found.argmax()}
    assert isinstance(found.argmax(), Genotype)
    with pytest.raises(NothingFitsError):
        found.sample(1, generator, lambda _genotype: False)


def test_entropy_is_the_mean_of_all_choices():
    start = math.log(8)
    assert relaxed("darts").entropy() == pytest.approx(start, rel=1e-4)
    sizes = [math.log(n) for n in (2, 3, 4, 5, 6)]
    expected = (2 * sum(sizes) + 10 * math.log(len(SLNAS.operations))) / 20
    assert relaxed("slnas").entropy() == pytest.approx(expected, rel=1e-4)
    assert moved("darts").entropy() < start


def test_adam_is_the_published_one():
    case = GOLDEN["steps"][0]
    for order in ("first_order", "second_order"):
        found: MixedOperations = relaxed("darts")
        for own, name in zip(found.parameters, ("normal", "reduce"), strict=True):
            own.data = torch.tensor(case[f"alphas_{name}"], dtype=torch.float64)
        found.step([torch.tensor(case[order]["gradient"][name], dtype=torch.float64) for name in ("normal", "reduce")])
        for own, name in zip(found.parameters, ("normal", "reduce"), strict=True):
            expected = torch.tensor(case[order]["alphas_after_one_step"][name], dtype=torch.float64)
            torch.testing.assert_close(own.detach(), expected, rtol=1e-8, atol=1e-8)
