"""Every strategy on small made-up tables: plain positions with options, whose scores are known."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.nao.learning import Settings
from controller.policy import LogitScale
from controller.position_policy import PositionPolicy
from controller.positions import CellPositions, Positions
from controller.predictor import START, Predictor
from controller.regularized_evolution import RegularizedEvolution
from controller.sampling import NothingFitsError
from controller.strategies import STRATEGIES
from ops.space import SPACES, Space
from tests.genes import source, stored

SIZES = (4, 3, 5, 2, 4)
NAMES = sorted(STRATEGIES)
LEARNERS = ["predictor", "regularized_evolution"]


def make(name: str, sizes=SIZES, seed: int = 0):
    torch.manual_seed(seed)
    small = Settings(pool=14, replaced=6, best=4, longest=3, epochs=2)
    return STRATEGIES[name](Positions(Space("table", tuple(sizes))), lr=1e-2, nao=small)


def separable(row) -> float:
    """100 at the last option everywhere, less for every step away from it."""
    return 100.0 - sum(size - 1 - option for size, option in zip(SIZES, row, strict=True))


def drive(strategy, generator, rounds: int, n: int = 5, score=separable) -> list:
    asked = []
    for _ in range(rounds):
        rows = strategy.ask(n, generator)
        strategy.tell([score(row) for row in rows])
        asked += rows
    return asked


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_an_option_at_each_position_and_a_saved_strategy_goes_on_exactly(name):
    straight, generator = make(name), source()
    rows = drive(straight, generator, 9)
    assert all(len(row) == len(SIZES) and all(0 <= v < k for v, k in zip(row, SIZES, strict=True)) for row in rows)
    resumed, twin = make(name, seed=1), generator.clone_state()
    resumed.load_state_dict(stored(straight.state_dict()))
    assert drive(resumed, twin, 4) == drive(straight, generator, 4)
    assert resumed.argmax() == straight.argmax()
    assert resumed.sample(7, twin) == straight.sample(7, generator)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_one_row_and_a_limit_that_nothing_meets(name):
    strategy = make(name, (1, 1, 1))
    assert set(drive(strategy, source(), 8, score=lambda _row: 50.0)) == {(0, 0, 0)}
    with pytest.raises(NothingFitsError):
        make(name).ask(2, source(), lambda _row: False)
    rows = make(name).ask(6, source(), lambda row: row[2] == 3)
    assert {row[2] for row in rows} == {3}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_best_of_a_separable_table_is_found_within_a_third_of_it(name):
    rows = 4 * 3 * 5 * 2 * 4
    best = [make(name, seed=seed) for seed in range(5)]
    found = sum(100.0 in map(separable, drive(s, source(i), rows // 15)) for i, s in enumerate(best))
    assert found >= 4, "uniform draws find it in 1 of 3"


@pytest.mark.parametrize("name", LEARNERS)
def test_equal_scores_favour_the_first_in_order(name):
    strategy = make(name)
    rows = drive(strategy, source(), 9, score=lambda _row: 50.0)
    assert strategy.argmax() == min(rows)


def test_no_score_is_asked_for_twice_while_others_are_left():
    strategy = make("predictor", (3, 3, 3))
    rows = drive(strategy, source(), 1, START, sum) + drive(strategy, source(1), 6, 1, sum)
    proposed = rows[START:]
    assert len(set(proposed)) == 6
    assert not set(proposed) & set(rows[:START])
    drive(strategy, source(2), 20, 2, sum)  # after all 27 it goes on with those that it has
    assert len(dict(strategy.scored)) == 27


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["slnas", "enas", "darts"]), st.integers(0, 2**40))
def test_a_mutation_changes_one_integer_and_stays_legal(space, seed):
    positions, generator = CellPositions(2, "type", space), source(seed)
    [parent] = positions.uniform(1, generator)
    child = positions.mutated(parent, generator)
    assert sum(a != b for a, b in zip(positions.row(parent), positions.row(child), strict=True)) == 1
    assert all(SPACES[space].can_draw(cell) for cell in child.cells)


def test_parents_are_the_best_of_a_sample_of_those_scored_last():
    strategy = RegularizedEvolution(Positions(Space("table", (9,) * 6)), population=4, sample=40)
    strategy.scored = [((8,) * 6, 99.0)] + [((option,) * 6, float(option)) for option in (3, 7, 2, 5)]
    children = strategy.propose(30, source())
    assert all(sum(option != 7 for option in child) == 1 for child in children), "the one that scored 99 is too old"
    assert len(set(children)) > 10


def test_the_last_score_of_a_candidate_counts():
    positions = Positions(Space("table", (4, 4, 4)))
    rows = list(positions.uniform(START, source()))
    models = []
    for first in (0.0, 90.0):
        strategy = Predictor(positions)
        strategy.scored = [(rows[0], first), *((row, float(sum(row))) for row in rows)]
        models.append(strategy.propose(5, source(1)))
    assert models[0] == models[1]


@pytest.mark.parametrize("differs", [{}, {2: 0}])
def test_a_policy_over_positions_knows_the_probability_of_every_row(differs):
    torch.manual_seed(0)
    positions = Positions(Space("table", (3, 2, 3)))
    positions.differs = differs
    policy = PositionPolicy(positions, LogitScale(2.5, 5.0, 0.1)).double()
    rows = [row for row in product(range(3), range(2), range(3)) if not differs or row[0] != row[2]]
    assert policy.log_prob(rows).exp().sum().item() == pytest.approx(1, abs=1e-12)
    drawn, judged = policy.draw(9, source())
    torch.testing.assert_close(policy.log_prob(drawn), judged.log_prob, rtol=1e-12, atol=1e-12)
    assert set(drawn) <= set(rows)
    (judged.log_prob + judged.entropy).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in policy.parameters())
    with pytest.raises(ValueError, match="never drawn in the space table"):
        policy.log_prob([(0, 0, 3)])
