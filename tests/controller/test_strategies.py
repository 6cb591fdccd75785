"""What every search strategy promises, and what makes each of them what it is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from controller import sampling
from controller.evolution import Evolution
from controller.nao.learning import Settings
from controller.positions import CellPositions
from controller.sampling import NothingFitsError, draw_fitting, uniform
from controller.strategies import STRATEGIES, make_strategy
from ops.genotype import SHARINGS, Genotype
from ops.space import SLNAS
from tests.genes import from_genes, genes_of, source, stored

NAMES = sorted(STRATEGIES)
GENES = 2 * SLNAS.length
TWO_ROUNDS = Settings(pool=14, replaced=6, best=4, longest=3, epochs=2)  # of a drive
OPTIONS = {"rl": {"lr": 1e-2}, "nao": {"nao": TWO_ROUNDS}}


def make(name: str, seed: int = 0):
    torch.manual_seed(seed)
    return make_strategy(name, 2, "type", **OPTIONS.get(name, {}))


def share_of_max_pool(genotype: Genotype) -> float:
    return 100 * sum(gene == 3 for gene in genes_of(genotype)[1::2]) / (GENES / 2)


def drive(strategy, generator, rounds: int = 4, n: int = 7) -> list:
    """Everything that comes out of some rounds; 20 scores complete a generation."""
    found = []
    for _ in range(rounds):
        genotypes = strategy.ask(n, generator)
        found.append((genotypes, strategy.tell([share_of_max_pool(g) for g in genotypes])))
        found.append((strategy.sample(2, generator), strategy.argmax()))
    return found


def all_from(inputs: str, op: int) -> Genotype:
    """The same operation everywhere; all inputs the first or the last that there is."""
    genes = [op if i % 2 else 0 if inputs == "first" else SLNAS.options(i) - 1 for i in range(GENES)]
    return from_genes(genes, "type")


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides_what_is_proposed(name):
    runs = []
    for noise in (1, 2):
        strategy = make(name)
        torch.manual_seed(noise)
        runs.append(drive(strategy, source()))
    assert runs[0] == runs[1]
    assert drive(make(name), source(1)) != runs[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_strategy_goes_on_exactly(name):
    strategy, generator = make(name), source()
    drive(strategy, generator)
    restored, twin = make(name, seed=5), generator.clone_state()
    restored.load_state_dict(stored(strategy.state_dict()))
    assert drive(restored, twin) == drive(strategy, generator)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_fits_is_proposed(name):
    strategy, generator = make(name), source()

    def fits(genotype):
        return genotype.cells[0][1] == 2

    for _ in range(4):
        genotypes = strategy.ask(8, generator, fits)
        strategy.tell([50.0] * 8)
        assert all(fits(g) for g in (*genotypes, *strategy.sample(3, generator, fits)))


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_that_nothing_meets_ends_after_a_bounded_number_of_draws(name, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_DRAWS", 60)
    tried = []

    def fits(genotype):
        tried.append(genotype)
        return False

    for method in (make(name).ask, make(name).sample):
        tried.clear()
        with pytest.raises(NothingFitsError):
            method(2, source(), fits)
        assert 60 <= len(tried) < 60 + 20


def test_misses_are_counted_in_a_row_and_the_order_of_the_draws_is_kept(monkeypatch):
    monkeypatch.setattr(sampling, "MAX_DRAWS", 100)
    pool = iter(uniform(2000, 2, "type", source()))
    handed = []

    def draw(count):
        batch = [next(pool) for _ in range(count)]
        handed.extend(batch)
        return batch

    rare = draw_fitting(draw, 15, lambda genotype: handed.index(genotype) % 50 == 49)
    assert list(rare) == handed[49:750:50]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(SHARINGS)), st.integers(1, 6), st.integers(0, 2**40))
def test_uniform_genotypes_are_valid_and_their_genes_are_read_back(sharing, cells, seed):
    cells = {"type": 2, "network": 1}.get(sharing, cells)
    for genotype in uniform(10, cells, sharing, source(seed)):
        assert (genotype.sharing, len(genotype.cells)) == (sharing, cells)
        assert from_genes(genes_of(genotype), sharing) == genotype


def test_random_search_is_uniform_in_every_gene():
    rows = torch.tensor([genes_of(genotype) for genotype in make("random").sample(6000, source())])
    for i, column in enumerate(rows.unbind(1)):
        counts = torch.bincount(column, minlength=SLNAS.options(i))
        assert len(counts) == SLNAS.options(i)
        assert chisquare(counts).pvalue > 1e-4, i
    pair = torch.bincount(rows[:, 1] * 5 + rows[:, 3], minlength=25)
    assert chisquare(pair).pvalue > 1e-4, "genes are independent"


def test_evolution_climbs_and_random_search_does_not():
    means = {}
    for name in ("evolution", "random"):
        strategy, generator, means[name] = make(name), source(), []
        for _ in range(30):
            scores = [share_of_max_pool(g) for g in strategy.ask(20, generator)]
            strategy.tell(scores)
            means[name].append(sum(scores) / 20)
    late = {name: sum(values[-10:]) / 10 for name, values in means.items()}
    assert late["evolution"] > means["evolution"][0] + 4, "half of the parents are fresh, so there is a ceiling"
    assert late["evolution"] > late["random"] + 6
    assert sum(means["random"]) / 30 == pytest.approx(20, abs=1)


@pytest.mark.parametrize("scores", [[0.0] * 20, [-5.0] * 20, [-5.0] * 19 + [1.0]])
def test_scores_that_are_not_positive_do_no_harm(scores):
    strategy, generator = make("evolution"), source()
    for _ in range(3):
        assert len(strategy.ask(20, generator)) == 20
        strategy.tell(scores)
    assert (strategy.generation, strategy.has_moved()) == (3, True)


@pytest.fixture
def bred(monkeypatch):
    """Children of A (op 0, first inputs) with fresh B (op 1, last inputs), as rows, in a given generation."""
    a, b = all_from("first", 0), all_from("last", 1)
    monkeypatch.setattr(CellPositions, "uniform", lambda _self, n, *_: (b,) * n)

    def breed(generation: int, n: int) -> torch.Tensor:
        strategy = Evolution(CellPositions(2, "type"))
        strategy.parents, strategy.generation = [(a, 10.0)] * 20, generation
        return torch.tensor([genes_of(child) for child in strategy.sample(n, source(generation))])

    return torch.tensor([genes_of(a), genes_of(b)]), breed


def test_children_have_the_genes_of_their_parents_but_for_rare_mutations(bred):
    parents, breed = bred
    n = 10_000
    for generation in (1, 9, 10, 11, 20):
        rows = breed(generation, n)
        strange = ((rows != parents[0]) & (rows != parents[1])).sum().item()
        fresh = [(SLNAS.options(i) - 2) / SLNAS.options(i) for i in range(GENES)]  # chance of being of neither parent
        expected = n * sum(fresh) * (0.001 + (1 / GENES if generation % 10 == 0 else 0))
        assert strange == pytest.approx(expected, abs=5 * expected**0.5), generation


def test_seven_genes_of_ten_come_from_the_first_parent(bred):
    parents, breed = bred
    share = (breed(1, 10_000) == parents[0])[:, 1::2].double().mean(dim=1)  # operations: of A, of B or mutated
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    # Both parents A or both B in half of the cases; else 0.7 or 0.3 of 20 genes, with the variance of a binomial.
    expected = 0.25 + 0.25 * (0.7**2 + 0.3**2 + 2 * 0.21 / 20)
    assert share.square().mean().item() == pytest.approx(expected, abs=0.015)


def test_parents_are_picked_by_their_squared_score(monkeypatch):
    monkeypatch.setattr(CellPositions, "uniform", lambda _self, n, *_: (all_from("last", 1),) * n)
    strategy, generator = Evolution(CellPositions(2, "type")), source()
    strategy.parents, strategy.generation = [(all_from("first", 0), 10.0), (all_from("first", 4), 20.0)] * 10, 1
    ops = torch.tensor([genes_of(c)[1::2] for _ in range(800) for c in strategy.sample(2, generator)])
    low, high = (ops == 0).sum().item(), (ops == 4).sum().item()
    assert high / (low + high) == pytest.approx(0.8, abs=0.03)
    strategy.parents = [(all_from("first", 0), 0.0)] * 19 + [(all_from("first", 4), 1.0)]
    ops = torch.tensor([genes_of(c)[1::2] for _ in range(50) for c in strategy.sample(4, generator)])
    assert (ops == 0).sum().item() < 8, "what scored nothing is never picked; mutations are rare"


def test_evolution_favours_the_best_of_the_last_complete_generation():
    strategy, generator = make("evolution"), source()
    assert strategy.argmax() is None
    first = strategy.ask(20, generator)
    assert not strategy.has_moved()
    assert strategy.tell(list(range(20))) == {"reward": 9.5, "best": 19, "generation": 1}
    strategy.ask(3, generator)
    strategy.tell([90, 91, 92])
    assert (strategy.argmax(), make("random").argmax()) == (first[19], None)


@pytest.mark.parametrize("name", NAMES)
def test_scores_that_answer_no_proposal_are_refused(name):
    strategy = make(name)
    with pytest.raises(ValueError, match="ask"):
        strategy.tell([1.0])
    strategy.ask(3, source())
    with pytest.raises(ValueError, match="ask"):
        strategy.tell([1.0, 2.0])
    strategy.tell([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="ask"):
        strategy.tell([1.0, 2.0, 3.0])


def test_the_policy_learns_from_the_log_probabilities_of_what_fitted():
    strategy = make_strategy("rl", 2, "type", lr=1e-2, entropy_weight=0.0)
    genotypes = strategy.ask(5, source(), lambda genotype: genotype.cells[1][1] in (0, 4))
    log_prob = strategy.controller.log_prob(genotypes).detach()
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 50.0])
    expected = -(log_prob * (scores - scores.mean())).mean().item()
    assert (strategy.tell(scores.tolist())["loss"], strategy.has_moved()) == (pytest.approx(expected, rel=1e-4), True)


def test_the_likely_genotype_takes_the_likeliest_choice_everywhere():
    strategy = make("rl")
    drive(strategy, source())
    genotype = strategy.argmax()
    for cell, tables in zip(genotype.cells, strategy.controller.probabilities(genotype), strict=True):
        for genes, rows in zip((cell[0::2], cell[1::2]), tables, strict=True):
            for gene, row in zip(genes, rows, strict=True):
                assert row.flatten()[gene] == row.max()
