"""Who is trained in the rounds of finals, and in which order they end up."""

import math
from itertools import pairwise

import torch

from controller.sampling import uniform
from engine.finals import Final, by_predictor, by_rank, entrants, epochs_of_finals, finals_first, images_of_finals
from utils.config import FinalsConfig

ORDER = list(uniform(30, 2, "type", torch.Generator().manual_seed(1)))


def final(score: float, number: int = 0) -> Final:
    return Final(score, 3**number, number, 100, "scratch")


def test_rounds_train_a_third_rounded_up_until_one_would_be_left():
    assert entrants(9, None) == [9, 3]
    assert entrants(27, None) == [27, 9, 3]
    assert entrants(27, 2) == [27, 9]
    for n in range(2, 60):
        counts = entrants(n, None)
        assert counts[0] == n
        assert all(1 < after == -(-before // 3) for before, after in pairwise(counts))


def test_a_final_has_two_epochs_or_enough_steps_and_its_images_are_those_of_all_rounds():
    assert epochs_of_finals(FinalsConfig(), 1000) == 2
    assert epochs_of_finals(FinalsConfig(), 40) == 7
    assert epochs_of_finals(FinalsConfig(final_epochs=1), 40) == 1
    assert images_of_finals(FinalsConfig(), 40, 4000, 1000) == 0
    config = FinalsConfig(finals=9, final_epochs=2)
    assert images_of_finals(config, 40, 4000, 1000) == 9 * (2 * 4000 + 1000) + 3 * (6 * 4000 + 1000)


def test_who_came_further_is_first_then_the_score_and_a_failed_training_is_the_last_of_its_round():
    a, b, c, d, *others = ORDER
    finals = {a: [final(90.0)], b: [final(50.0), final(40.0, 1)], c: [final(math.nan)], d: [final(95.0)]}
    assert finals_first(finals, ORDER) == [b, d, a, c, *others]
    assert by_rank(ORDER)(1, 2, finals) == [b, d]
    assert by_rank(ORDER)(0, 3, {}) == ORDER[:3]


def test_the_predictor_finds_among_all_candidates_those_whose_facts_are_like_the_best():
    worth = {genotype: math.sin(0.4 * place) for place, genotype in enumerate(ORDER)}  # best far down the order
    facts = {genotype: [1000 * value, 1.0] for genotype, value in worth.items()}  # any scale, and one that says nothing
    choose = by_predictor(ORDER, facts)
    assert choose(0, 9, {}) == ORDER[:9]
    finals = {genotype: [final(50 + 10 * worth[genotype])] for genotype in ORDER[:9]}
    chosen = choose(1, 4, finals)
    assert len(set(chosen)) == 4
    median = sorted(worth.values())[len(ORDER) // 2]
    assert all(worth[genotype] > median for genotype in chosen)
    assert set(chosen) - set(ORDER[:9]), "some that the ranking had left out"
