"""Who is trained in the rounds of finals, and in which order they end up."""

import math
from itertools import pairwise

import torch

from controller.sampling import uniform
from engine.finals import Final, entrants, epochs_of_finals, finals_first, images_of_finals
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
    assert finals_first({}, ORDER) == ORDER
