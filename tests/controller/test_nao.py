"""NAO's pool, its rounds and what it says of itself."""

import math

import torch

from controller.nao import strategy as rounds
from controller.nao.learning import Settings
from controller.nao.strategy import DECODED, FRESH, SEED, Nao, Pool
from controller.positions import CellPositions
from controller.sampling import uniform
from ops.genotype import Genotype
from tests.genes import genes_of, source, stored

SMALL = Settings(pool=12, replaced=5, best=4, epochs=2)


def make(sizes: Settings = SMALL, seed: int = 0) -> Nao:
    torch.manual_seed(seed)
    return Nao(CellPositions(2, "type"), settings=sizes)


def worth(genotype: Genotype) -> float:
    """A score that differs from genotype to genotype."""
    return sum(gene * (1 + i / 97) for i, gene in enumerate(genes_of(genotype)))


def score_all(nao: Nao, generator: torch.Generator, n: int = 4, fits=None) -> list[Genotype]:
    """Ask for a whole round and tell what each is worth; the genotypes in turn."""
    asked = []
    for _ in range(nao.settings.pool // n):
        genotypes = nao.ask(n, generator, fits)
        nao.tell([worth(genotype) for genotype in genotypes])
        asked += genotypes
    return asked


def test_a_round_asks_for_each_genotype_of_the_pool_and_the_last_ask_is_filled_with_the_first():
    nao, generator = make(), source()
    asked = []
    for _ in range(3):
        asked += nao.ask(5, generator)
        nao.tell([1.0] * 5)
    assert len(set(asked)) == 12
    assert asked[12:] == asked[:3]
    assert nao.counts["rounds"] == 0
    nao.ask(5, generator)
    assert nao.counts["rounds"] == 1


def test_a_round_replaces_the_worst_by_genotypes_that_no_pool_has_held():
    nao, generator, held, best = make(), source(), set(), []
    for number in range(4):
        asked = score_all(nao, generator)
        assert len(set(asked)) == 12
        if number:
            assert set(best) < set(asked)
            assert held.isdisjoint(g.canonical() for g in set(asked) - set(best))
        held |= {genotype.canonical() for genotype in asked}
        best = sorted(asked, key=worth, reverse=True)[:7]
    assert nao.counts["rounds"] == 3
    assert nao.counts[DECODED] + nao.counts[FRESH] == 3 * 5
    assert nao.counts[DECODED] > 0
    assert nao.argmax() == best[0]
    assert nao.finalists(7, generator) == tuple(best)
    assert len(nao.finalists(100, generator)) == 12


def test_without_latent_steps_all_that_is_new_is_fresh_and_counted_as_such():
    nao, generator = make(Settings(pool=12, replaced=5, best=4, epochs=1, longest=0)), source()
    score_all(nao, generator)
    nao.ask(1, generator)
    told = nao.tell([1.0])
    assert (told["nao_decoded"], told["nao_fresh"], nao.counts[FRESH]) == (0, 5, 5)


def test_what_decodes_meets_the_limits():
    def fits(genotype):
        return genes_of(genotype)[1] != 2

    nao, generator = make(Settings(pool=12, replaced=8, best=12, epochs=1)), source()
    for _ in range(3):
        assert all(fits(genotype) for genotype in score_all(nao, generator, fits=fits))
    assert nao.counts[DECODED] > 0


def test_a_pool_larger_than_what_fits_has_repeats_and_the_search_goes_on(monkeypatch):
    monkeypatch.setattr("controller.sampling.MAX_DRAWS", 30)
    few = uniform(3, 2, "type", source(9))
    monkeypatch.setattr(CellPositions, "uniform", lambda _self, n, *_: tuple(few[i % 3] for i in range(n)))
    nao, generator = make(), source()
    for _ in range(2):
        assert set(few) >= set(score_all(nao, generator, fits=lambda genotype: genotype in few))


def test_paths_are_uniform_draws_from_the_pool():
    nao = make()
    drawn = nao.sample(2400, source())
    pool = {member.genotype for member in nao.pool.members}
    assert set(drawn) == pool
    assert max(drawn.count(genotype) for genotype in pool) < 200 + 6 * math.sqrt(200)
    assert nao.argmax() is None
    assert not nao.has_moved()


def test_a_round_leaves_the_global_random_numbers_alone():
    nao, generator = make(), source()
    score_all(nao, generator)
    before = torch.random.get_rng_state()
    nao.ask(1, generator)
    assert nao.counts["rounds"] == 1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_search_saved_in_the_middle_of_a_round_goes_on_bit_for_bit():
    nao, generator = make(), source()
    score_all(nao, generator)
    nao.tell([worth(genotype) for genotype in nao.ask(5, generator)])
    twin, same = make(seed=7), generator.clone_state()
    twin.load_state_dict(stored(nao.state_dict()))
    for _ in range(5):
        genotypes = nao.ask(4, generator)
        assert twin.ask(4, same) == genotypes
        scores = [worth(genotype) for genotype in genotypes]
        assert twin.tell(scores) == nao.tell(scores)
    assert nao.counts["rounds"] == 2
    assert twin.report(nao.finalists(9, generator)) == nao.report(nao.finalists(9, generator))
    weights = zip(nao.network.state_dict().values(), twin.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_report_counts_where_the_ten_best_come_from():
    nao, genotypes = make(), uniform(14, 2, "type", source())
    nao.pool = Pool(nao.positions)
    nao.pool.add(genotypes[:4], SEED)
    nao.pool.add(genotypes[4:9], DECODED)
    nao.pool.add(genotypes[9:], FRESH)
    nao.counts = {"rounds": 2, DECODED: 9, FRESH: 3}
    ranked = [genotypes[i].canonical() for i in (0, 4, 1, 5, 9, 6, 2, 7, 10, 8, 3, 11)]
    report = nao.report(ranked)
    assert [report[name] for name in ("top", "top_from_seed", "top_from_decoded", "top_from_fresh")] == [10, 3, 5, 2]
    assert (report["rounds"], report["decoded"], report["fresh"]) == (2, 9, 3)
    assert report["pairwise_accuracy"] is None, "nothing was scored"
    assert nao.report(ranked[:3])["top"] == 3


def test_the_accuracy_is_of_what_was_scored_after_the_fit_and_not_fitted_to(monkeypatch):
    nao, generator, judged = make(), source(), []
    alphabet = nao.tokens

    def predictions(_network, tokens):
        judged.append(set(alphabet.decode(tokens)))
        return [-worth(genotype) for genotype in alphabet.decode(tokens)]

    monkeypatch.setattr(rounds, "predictions", predictions)
    first = score_all(nao, generator)
    assert nao.report(first)["pairwise_accuracy"] is None, "nothing was fitted yet"
    second = score_all(nao, generator)
    newcomers = set(second) - set(first)
    assert nao.report(second)["pairwise_accuracy"] == 0
    assert judged == [newcomers]
    nao.ask(4, generator)
    told = nao.tell([1.0] * 4)
    assert told["nao_pairwise_accuracy"] == 0
    assert 0 <= told["nao_reconstruction_error"] <= 1
    assert judged[1:] == [newcomers]
