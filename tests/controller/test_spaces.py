"""Drawing in every space that is searched: what is legal, how likely that is, and what older spaces always saw."""

import hashlib
import json
import math
from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from controller import evolution
from controller.evolution import Evolution
from controller.pictures import likely_pictures
from controller.positions import CellPositions
from controller.sampling import uniform, varied
from controller.statistics import Seen, shares
from controller.strategies import CONTROLLERS, make_strategy
from ops.genotype import Genotype
from ops.space import DARTS, SPACES, CellSpace, edges
from tests.genes import from_genes, genes_of, source

SEARCHED = [name for name, space in SPACES.items() if space.searched and isinstance(space, CellSpace)]
PAIRS = {DARTS.name}  # spaces whose nodes read two different states
DRAWS = {"uniform": uniform, "varied": varied}
SAME = {  # what was drawn before there were spaces with two different inputs
    "uniform": "71b96ba42a420740",
    "varied": "0099c04df5230c77",
    "rl": "e7f2b758ad98d133",
    "evolution": "d5cde812a917868a",
}


def policy(controller: str, space: str, factor: float = 6.0):
    """In float64, with distributions that differ clearly from uniform."""
    torch.manual_seed(0)
    made = CONTROLLERS[controller](2, "type", space).double()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not name.endswith("operation.bias"):
                parameter.mul_(factor)
    return made


def choices(made, genotypes):
    """What the policy finds on its way along all of these genotypes at once."""
    return made._walk(len(genotypes), made._given(genotypes), None)


def legal(genotypes, space: str) -> bool:
    """As the space asks for it, and as it is read back from its integers and from JSON."""
    for genotype in genotypes:
        assert from_genes(genes_of(genotype), "type", space) == genotype
        assert Genotype.from_lists(json.loads(str(genotype)), "type", space) == genotype
        assert all(SPACES[space].can_draw(cell) for cell in genotype.cells)
        if space in PAIRS:
            assert all(first.input != second.input for cell in genotype.cells for first, second in edges(cell))
    return len(set(genotypes)) > 1


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SEARCHED), st.sampled_from(sorted(DRAWS)), st.integers(0, 2**40))
def test_what_is_drawn_without_a_strategy_is_legal(space, draw, seed):
    assert legal(DRAWS[draw](2 * len(SPACES[space].operations), 2, "type", source(seed), space), space)


@pytest.mark.parametrize("space", SEARCHED)
@pytest.mark.parametrize("strategy", ["random", "evolution", *CONTROLLERS])
def test_what_strategies_propose_is_legal_and_can_be_shown(space, strategy, monkeypatch):
    monkeypatch.setattr(evolution, "MUTATION", 0.3)
    name, options = ("rl", {"controller": strategy}) if strategy in CONTROLLERS else (strategy, {})
    torch.manual_seed(0)
    proposing, generator, seen = make_strategy(name, 2, "type", space, **options), source(), Seen()
    for _ in range(3):
        genotypes = proposing.ask(20, generator)
        assert legal(genotypes, space)
        proposing.tell([float(genotype.cells[0][1]) for genotype in genotypes])
        seen.add(genotypes)
    assert len(seen) > 50
    found = shares(genotypes)
    for kind, names in (("operations", SPACES[space].operations), ("inputs", SPACES[space].states)):
        assert sum(found[f"{kind}/{name}"] for name in names) == pytest.approx(1)
    if proposing.argmax() is not None:
        legal([proposing.argmax()], space)
        tables = dict(likely_pictures(proposing, lambda rows, columns, title: (rows, columns)))
        assert ("controller/inputs_0" in tables) == (name == "rl")
        for rows, columns in (table for tag, table in tables.items() if tag.startswith("controller/")):
            assert len(rows) == 2 * SPACES[space].nodes
            assert all(len(row) <= len(columns) for row in rows.values())


@pytest.mark.parametrize("space", SEARCHED)
def test_the_widest_genotype_can_be_drawn_and_has_the_heaviest_operation_everywhere(space):
    genotype, of = Genotype.widest(2, space=space), SPACES[space]
    assert all(of.can_draw(cell) for cell in genotype.cells)
    assert {of.operations[op] for cell in genotype.cells for op in cell[1::2]} == {of.heaviest}


@pytest.mark.parametrize("draw", DRAWS)
def test_pairs_of_different_inputs_are_uniform(draw):
    n = 700 * len(DARTS.operations)
    rows = torch.tensor([genes_of(g) for g in DRAWS[draw](n, 2, "type", source(1), "darts")])
    for node in range(2 * DARTS.nodes):
        pairs = Counter(zip(*rows[:, [4 * node, 4 * node + 2]].t().tolist(), strict=True))
        assert set(pairs) == set(permutations(range(node % DARTS.nodes + 2), 2))
        assert chisquare(list(pairs.values())).pvalue > 1e-4, node


def test_only_second_inputs_that_are_the_first_again_are_drawn_anew():
    positions = CellPositions(2, "type", "darts")
    genes = (torch.rand(300, 32, generator=source(), dtype=torch.float64) * positions.sizes).long()
    found = positions.legal(genes, source())
    clash = torch.zeros_like(genes, dtype=torch.bool)
    clash[:, 2::4] = genes[:, 0::4] == genes[:, 2::4]
    assert clash.any()
    assert torch.equal(found != genes, clash)
    assert CellPositions(2, "type", "slnas").legal(genes, source()) is genes


def test_children_in_a_space_of_pairs_keep_genes_that_go_together_and_draw_the_others_anew(monkeypatch):
    a, b = ((0, 3, 1, 3) * 4, (1, 3, 0, 3) + (1, 3, 2, 3) * 3)
    a, b = (Genotype((cell, cell), space="darts") for cell in (a, b))
    monkeypatch.setattr(CellPositions, "uniform", lambda _self, n, _generator: (b,) * n)
    strategy = Evolution(CellPositions(2, "type", "darts"))
    strategy.parents, strategy.generation = [(a, 1.0)] * 20, 1
    children = strategy.sample(4000, source())
    assert legal(children, "darts")
    pairs = Counter(child.cells[0][4:8:2] for child in children)  # of the second node: (0, 1) and (1, 2) crossed
    assert sum(pairs[p] for p in ((0, 1), (1, 2), (0, 2), (1, 0))) > 3970, "mutations are rare"
    assert pairs[0, 2] == pytest.approx(0.105 * 4000, abs=90), "the first input of a, the second of b"
    assert pairs[1, 0] == pytest.approx(0.105 * 4000 / 2, abs=65), "(1, 1) becomes (1, 0) in half of the cases"


@pytest.mark.parametrize("space", [name for name in SEARCHED if name not in PAIRS and SPACES[name].nodes == 5])
def test_other_spaces_see_the_draws_that_they_always_saw(space):
    def digest(genotypes) -> str:
        return hashlib.sha256(json.dumps([g.to_lists() for g in genotypes]).encode()).hexdigest()[:16]

    found = {name: digest(draw(40, 2, "type", source(7), space)) for name, draw in DRAWS.items()}
    for name in ("rl", "evolution"):
        torch.manual_seed(3)
        strategy, generator, asked = make_strategy(name, 2, "type", space), source(7), []
        if name == "rl":
            strategy.controller.double()
        for _ in range(2):
            genotypes = strategy.ask(20, generator)
            strategy.tell([float(genotype.cells[0][1]) for genotype in genotypes])
            asked += genotypes
        found[name] = digest(asked)
    assert found == SAME


@pytest.mark.parametrize("space", SEARCHED)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_policies_know_the_probability_of_what_they_draw(controller, space):
    made = policy(controller, space)
    genotypes, drawn = made.draw(6, source())
    judged = made.judge(genotypes)
    for one, other in zip(drawn, judged, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(made.log_prob(genotypes), drawn.log_prob, rtol=1e-12, atol=1e-12)
    for i, genotype in enumerate(genotypes):
        log_prob, entropy = 0.0, 0.0
        for cell, pair in zip(genotype.cells, made.probabilities(genotype), strict=True):
            for genes, tables in zip((cell[0::2], cell[1::2]), pair, strict=True):
                for place, (gene, table) in enumerate(zip(genes, tables, strict=True)):
                    assert table.sum().item() == pytest.approx(1)
                    if space in PAIRS and genes is not cell[1::2] and tables is pair[0] and place % 2:
                        assert table[genes[place - 1]] == 0
                    log_prob += table[gene].log().item()
                    entropy += torch.special.entr(table).sum().item()
        assert judged.log_prob[i].item() == pytest.approx(log_prob, abs=1e-9)
        assert judged.entropy[i].item() == pytest.approx(entropy, abs=1e-9)
    (judged.log_prob + judged.entropy).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())
    assert made.kl_from_uniform(drawn.entropy.mean().item()) > 0


@pytest.mark.parametrize("space", SEARCHED)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_probabilities_of_all_that_can_be_drawn_sum_to_one(controller, space):
    """Of all inputs of the last node of the last encoding, with all else fixed."""
    made, of = policy(controller, space), SPACES[space]
    base = made.draw(1, source())[0][0]
    cell, first = list(base.cells[1]), 4 * (of.nodes - 1)
    values = range(of.nodes + 1)
    variants = []
    for pair in permutations(values, 2) if of.distinct else [(a, b) for a in values for b in values]:
        cell[first], cell[first + 2] = pair
        variants.append(Genotype((base.cells[0], tuple(cell)), space=space))
    connections = choices(made, variants)[0]  # of all encodings
    both = connections.log_probs.gather(2, connections.indices[:, :, None])[:, -2:, 0].sum(1)  # (variants,)
    assert both.logsumexp(0).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_draws_in_a_space_of_pairs_follow_the_stated_probabilities(controller):
    """Each option of a choice is taken as often as its probability, given the choices before, is on average."""
    made, n = policy(controller, "darts"), 200
    with torch.no_grad():
        connections = choices(made, made.draw(n, source())[0])[0]
    for place in range(2 * DARTS.nodes):
        stated = connections.log_probs[:, place].exp()  # (n, options)
        seen = torch.nn.functional.one_hot(connections.indices[:, place], DARTS.nodes + 1).double()
        error = (seen - stated).mean(0).abs()
        assert (error <= 4.5 * ((stated * (1 - stated)).sum(0)).sqrt() / n + 1e-12).all(), place


@pytest.mark.parametrize("space", SEARCHED)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_a_policy_without_preferences_is_uniform(controller, space):
    made = policy(controller, space, factor=0.0)
    with torch.no_grad():
        made.get_parameter("operation.bias" if controller == "enas" else "operation.classifier.bias").zero_()
    if controller == "enas":
        made.lean.zero_()
    entropy = made.draw(2, source())[1].entropy
    assert entropy[0].item() == pytest.approx(sum(math.log(options) for options in made.positions.free))
    assert made.kl_from_uniform(entropy.mean().item()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_what_cannot_be_drawn_is_not_judged(controller):
    """Its log-probability would be minus infinity, and an update by it would leave no number in the policy."""
    made = policy(controller, "darts")
    twice, foreign = (0, 3, 0, 3) * 4, (0, 7, 1, 3) * 4  # state 0 twice; an operation that only hands write
    for cell in (twice, foreign, (0, 3, 1, 3) * 5):
        genotype = Genotype(((0, 3, 1, 3) * 4, cell), space="darts")
        for ask in (made.judge, made.log_prob):
            with pytest.raises(ValueError, match="never drawn in the space darts"):
                ask([genotype])


@pytest.mark.parametrize("controller", ["slnas", "enas"])
def test_a_random_number_that_rounds_to_one_reaches_nothing_impossible(controller, monkeypatch):
    made = policy(controller, "darts").float()
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, **_: torch.ones(size, dtype=dtype))
    [genotype] = made.draw()[0]
    made.positions.require_drawable(genotype)
    assert genotype.cells[0][0] == 1, "the last state"
    assert genotype.cells[0][2] == 0, "the last state that is left"
