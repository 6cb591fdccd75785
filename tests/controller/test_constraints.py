"""Limits on cost, and the front of score against cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.constraints import Constraints, pareto_front
from controller.sampling import NothingFitsError, draw_fitting, uniform
from ops.genotype import Genotype
from tests.genes import source, stored

POOL = uniform(200, 2, "type", source())


def first_op(genotype: Genotype) -> float:
    """A cost from 1 to 5."""
    return 1.0 + genotype.cells[0][1]


def counted(cost, calls: list):
    def found(genotype):
        calls.append(genotype)
        return cost(genotype)

    return found


def limits(maxima, calls=None) -> Constraints:
    calls = [] if calls is None else calls
    costs = {"parameters": counted(first_op, calls), "latency_ms": counted(lambda g: 10 * first_op(g), calls)}
    return Constraints(costs, maxima)


def test_a_limit_is_met_up_to_and_with_its_value():
    one = limits({"parameters": 3})
    assert all(one.meets(g) == (first_op(g) <= 3) for g in POOL)
    both = limits({"parameters": 3, "latency_ms": 20})
    assert all(both.meets(g) == (first_op(g) <= 2) for g in POOL)
    assert all(limits({}).meets(g) for g in POOL)


def test_a_cost_is_found_once_for_a_genotype():
    calls = []
    found = limits({"parameters": 3}, calls=calls)
    for _ in range(3):
        assert [found.cost("parameters", g) for g in POOL] == [first_op(g) for g in POOL]
        found.fits(POOL[0])
    assert len(calls) == len(set(POOL))
    assert "latency_ms" not in found.smallest, "what is not limited is not measured"


def test_dear_costs_are_not_found_where_a_cheap_one_refuses():
    calls = []
    found = limits({"parameters": 1, "latency_ms": 1e9}, calls=calls)
    refused = [g for g in POOL if first_op(g) > 1]
    assert not any(found.meets(g) for g in refused)
    assert len(calls) == len(set(refused))


def test_the_acceptance_rate_counts_draws_since_it_was_last_asked():
    found = limits({"parameters": 3})
    assert found.take_acceptance() == 1
    met = [found.fits(g) for g in POOL]
    assert met == [found.meets(g) for g in POOL]
    assert found.take_acceptance() == pytest.approx(sum(met) / len(met))
    assert found.take_acceptance() == 1


def test_nothing_is_drawn_again_without_limits():
    assert limits({}).filter is None


def test_the_message_names_each_limit_with_the_smallest_value_that_was_seen():
    found = limits({"parameters": 0.5})
    pool = iter(g for g in POOL * 20 if first_op(g) > 1)
    with pytest.raises(NothingFitsError) as error:
        draw_fitting(lambda n: [next(pool) for _ in range(n)], 1, found.filter)
    message = found.explained(error.value)
    assert "parameters at most 0.5 (smallest seen 2)" in message
    assert "latency" not in message
    assert "\n" not in message


def test_what_was_measured_outlives_an_interruption():
    found = limits({"latency_ms": 30})
    met = [found.meets(g) for g in POOL]
    calls = []
    again = limits({"latency_ms": 30}, calls=calls)
    again.load_state_dict(stored(found.state_dict()))
    assert [again.meets(g) for g in POOL] == met
    assert not calls
    again.cost("parameters", POOL[0])
    assert calls == [POOL[0]], "what a formula gives is not kept"


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
def test_the_front_is_what_no_other_point_beats(points):
    """Points are (cost, score)."""

    def beaten(p):
        return any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)

    front = pareto_front(points, score=lambda p: p[1], cost=lambda p: p[0])
    assert set(front) == {p for p in points if not beaten(p)}
    assert front == sorted(front)
