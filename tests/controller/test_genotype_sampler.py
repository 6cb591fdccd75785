"""What the one place that draws genotypes for a search promises."""

import pytest
import torch

from controller.constraints import Constraints
from controller.genotype_sampler import GenotypeSampler
from controller.policy import Controller
from controller.reinforce import Reinforce
from controller.sampling import uniform
from utils.system.processes import World


def draws(canonical: bool, maxima: dict | None = None, priced: list | None = None) -> GenotypeSampler:
    torch.manual_seed(0)

    def cost(genotype):
        priced.append(genotype)
        return genotype.cells[0][1]

    constraints = Constraints({"first": cost}, maxima or {})
    return GenotypeSampler(Reinforce(Controller(2)), constraints, World(), seed=1, canonical=canonical)


@pytest.mark.parametrize("method", ["sample", "ask"])
def test_canonical_draws_are_those_of_the_strategy_in_canonical_form(method):
    published, canonical = (getattr(draws(c), method)(6, "paths", 0) for c in (False, True))
    assert canonical == [genotype.canonical() for genotype in published]
    assert canonical != published
    paths = uniform(5, 2, "type", torch.Generator().manual_seed(0))
    assert draws(True).form(paths) == [path.canonical() for path in paths]
    assert draws(False).form(paths) == list(paths)


def test_the_strategy_learns_from_what_it_drew_whatever_form_is_scored():
    learned = []
    for canonical in (False, True):
        source = draws(canonical)
        source.ask(3, "propose")
        assert source.strategy.tell([1.0, 2.0, 3.0])
        learned.append([p.clone() for p in source.strategy.controller.parameters()])
    assert all(map(torch.equal, *learned))


def test_canonical_draws_are_priced_and_limited_in_the_form_that_is_used():
    priced = []
    source = draws(True, {"first": 1}, priced)
    for genotype in source.sample(8, "paths"):
        assert genotype.cells[0][1] <= 1
    assert all(genotype == genotype.canonical() for genotype in priced)
