"""Whether candidates differ by more than noise, and what a strategy looks like."""

import math
import random

import pytest

from controller.statistics import derived_operations, skip_collapse, spread
from ops.genotype import Genotype, parse_genotype


def accuracies(chances, images, seed):
    """Percentages of ``images`` right, each drawn with its own chance."""
    draw = random.Random(seed)
    return [100 * sum(draw.random() < chance for _ in range(images)) / images for chance in chances]


def test_candidates_that_are_equally_good_are_told_from_such_that_are_not():
    images, verdicts, shares = 400, [], []
    for seed in range(20):
        noise = spread(accuracies([0.4] * 30, images, seed), images)
        assert not seed or noise.mean == pytest.approx(40, abs=2)
        verdicts.append(noise.is_real())
        shares.append(noise.noise_share)
        real = spread(accuracies([0.3 + 0.01 * i for i in range(30)], images, seed), images)
        assert real.is_real()
        assert real.noise_share == pytest.approx(100 * 0.245 / 400 / (0.245 / 400 + 0.0075), abs=5)
        assert "differ by more than noise" in real.sentence()
    assert sum(verdicts) <= 2, "noise passes for more in 1 of 40 cases"
    assert 85 < sum(shares) / len(shares) <= 100


@pytest.mark.parametrize("candidates", [2, 10, 30])
def test_noise_passes_for_more_in_one_of_forty_cases(candidates):
    images, cases = 1000, 400
    real = sum(spread(accuracies([0.4] * candidates, images, seed), images).is_real() for seed in range(cases))
    assert real <= 10 + 3 * math.sqrt(10), "of a binomial, 10 +- 3.1"


def test_the_figures_are_those_of_the_scores():
    found = spread([50.0, 60.0, 70.0], 100)
    assert (found.candidates, found.images, found.mean, found.std, found.best) == (3, 100, 60, 10, 70)
    assert found.noise_share == pytest.approx((25 + 24 + 21) / 3)
    for part in ("mean 60.00 %", "std 10.00", "best 70.00 %", "100 reward images", "23 %"):
        assert part in found.sentence()


@pytest.mark.parametrize("scores", [[0.0, 0.0], [100.0] * 5, [33.0, 33.0]])
def test_no_spread_is_no_more_than_noise(scores):
    found = spread(scores, 10)
    assert found.noise_share == 100
    assert "differ by no more than noise" in found.sentence()


def test_one_candidate_leaves_it_open():
    found = spread([12.5], 8)
    assert found.noise_share is None
    assert math.isfinite(found.std)
    assert "open" in found.sentence()


def darts(skips: int, of_reduction: int = 0) -> Genotype:
    """A genotype with so many skip connections in its normal cells, and in its reductions."""
    cells = [[2] * n + [3] * (8 - n) for n in (skips, of_reduction)]
    return Genotype.from_lists([[v for op in ops for v in (0, op)] for ops in cells], space="darts")


@pytest.mark.parametrize(("skips", "found"), [(0, 0), (3, 0), (4, 1), (8, 1)])
def test_a_normal_cell_that_half_passes_on_what_it_reads_has_collapsed(skips, found):
    lines = skip_collapse(darts(skips, of_reduction=8))
    assert len(lines) == found
    assert not found or f"{skips} of the 8 edges" in lines[0]


def test_published_cells_and_our_own_space_have_not_collapsed():
    for name in ("DARTS_V1", "DARTS_V2"):
        assert not skip_collapse(parse_genotype(name))
    assert not skip_collapse(Genotype.widest(2))


def test_derived_operations_are_counted_by_cell():
    counts = derived_operations(darts(3, 1))
    assert counts["normal/skip_connect"] == 3
    assert counts["normal/sep_conv_3x3"] == 5
    assert counts["reduction/skip_connect"] == 1
    assert sum(counts.values()) == 16
    assert set(derived_operations(Genotype.widest(3, "stage"))) >= {"0/shuffle_3x3", "2/conv_1x1"}
