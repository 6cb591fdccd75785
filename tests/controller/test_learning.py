"""A controller that learns, and why the published one does not: a paid operation, through ask and tell."""

import math

import pytest
import torch

from controller.policy import Controller, LogitScale
from controller.reinforce import ADVANTAGES, Reinforce
from controller.statistics import warnings
from controller.strategies import make_strategy
from tests.genes import source, stored

TUNED = {
    "logit_scale": LogitScale(connection_bound=2.5, operation_bound=5.0, temperature=1.0),
    "lr": 1e-3,
    "optimizer": "adam",
    "advantage": "normalised",
}
EVERYTHING = {**TUNED, "entropy_in_loss": 0.1, "updates": 6}
SLOTS = 20


def make(**options) -> Reinforce:
    torch.manual_seed(0)
    return make_strategy("rl", 2, "type", **options)


def pay(genotype, noise: torch.Generator) -> float:
    """60 + 10 x share of operation 0, with noise of 3."""
    share = sum(op == 0 for cell in genotype.cells for op in cell[1::2]) / SLOTS
    return 60 + 10 * share + 3 * torch.randn((), generator=noise).item()


def play(strategy, evaluations: int, n: int, generator: torch.Generator, noise: torch.Generator) -> list[dict]:
    """Ask for ``n`` genotypes at a time and tell what they are paid."""
    return [
        strategy.tell([pay(genotype, noise) for genotype in strategy.ask(n, generator)])
        for _ in range(evaluations // n)
    ]


def probability_of_the_paid(strategy) -> float:
    genotypes = strategy.sample(8, source(5))
    tables = [table for g in genotypes for _, ops in strategy.controller.probabilities(g) for table in ops]
    return torch.stack(tables).mean(dim=0)[0].item()


def test_the_tuned_controller_finds_the_paid_operation():
    strategy = make(**TUNED)
    assert probability_of_the_paid(strategy) == pytest.approx(0.2, abs=0.1)
    told = play(strategy, 400, 16, source(), source(1))
    assert probability_of_the_paid(strategy) > 0.9
    assert told[-1]["favoured"] > told[0]["favoured"] + 0.2
    drawn = strategy.sample(20, source())
    entropy, kl = told[-1]["entropy"], told[-1]["kl_from_uniform"]
    assert not warnings(drawn, entropy=entropy, first=told[0]["entropy"], moved=True, updates=20, kl_from_uniform=kl)


def test_the_published_controller_stays_where_it_was_and_that_is_warned_of():
    """Logits within ±0.44 and a learning rate of 3.5e-5: docs/strategies.md, section 9.1."""
    strategy = make()
    told = play(strategy, 400, 8, source(), source(1))
    assert probability_of_the_paid(strategy) < 0.25
    assert strategy.has_moved()
    last = told[-1]
    drawn = strategy.sample(20, source())
    [text] = warnings(
        drawn,
        entropy=last["entropy"],
        first=last["entropy"],
        moved=True,
        updates=400,
        kl_from_uniform=last["kl_from_uniform"],
    )
    assert "uniform" in text


def test_no_operation_can_exceed_what_its_bound_allows():
    for logit_scale, most in ((LogitScale(), 0.376), (LogitScale(2.5, 5.0, 1.0), 0.9999)):
        controller = Controller(1, "block", logit_scale=logit_scale)
        with torch.no_grad():
            controller.operation.classifier.bias[:] = torch.tensor([1e6, *[-1e6] * 4])
        for table in controller.probabilities(controller.argmax())[0][1]:
            assert table[0].item() == pytest.approx(most, abs=1e-3)
            assert table[0].item() == pytest.approx(1 / (1 + 4 * math.exp(-2 * logit_scale.operation_bound)), abs=1e-5)


def test_distance_from_uniform_and_favoured_are_those_of_the_distributions():
    strategy = make(logit_scale=LogitScale(2.5, 5.0, 0.05))
    strategy.controller.double()
    genotypes = strategy.ask(3, source())
    tables = [t for g in genotypes for pair in strategy.controller.probabilities(g) for side in pair for t in side]
    told = strategy.tell([1.0, 2.0, 3.0])
    kl = sum((p * (p * len(p)).log()).sum().item() for p in tables) / len(tables)
    assert told["kl_from_uniform"] == pytest.approx(kl, rel=1e-9)
    assert kl > 0.01
    assert told["favoured"] == pytest.approx(sum(p.max().item() for p in tables) / len(tables), rel=1e-9)


def test_a_normalised_advantage_has_mean_0_and_std_1_and_equal_rewards_teach_nothing():
    rewards = torch.tensor([3.0, 5.0, 10.0], dtype=torch.float64)
    advantage = ADVANTAGES["normalised"](rewards, 123.0)
    assert advantage.mean().item() == pytest.approx(0, abs=1e-12)
    assert advantage.std(correction=0).item() == pytest.approx(1)
    torch.testing.assert_close(advantage, ADVANTAGES["normalised"](1000 + 7 * rewards, 0.0))
    assert not ADVANTAGES["normalised"](torch.full((4,), 50.0), 0.0).any()


def test_the_entropy_bonus_in_the_loss_makes_a_policy_more_uniform_until_it_has_fallen_to_nothing():
    strategy = make(
        **{**TUNED, "logit_scale": LogitScale(2.5, 5.0, 0.05)}, entropy_weight=0.0, entropy_in_loss=1.0, updates=8
    )
    generator, entropies, weights = source(), [], []
    for _ in range(10):
        strategy.ask(4, generator)
        weights.append([p.clone() for p in strategy.controller.parameters()])
        entropies.append(strategy.tell([50.0] * 4)["entropy"])  # equal scores: the bonus alone moves the policy
    assert entropies[7] > entropies[0] + 1
    assert not all(map(torch.equal, weights[6], weights[7]))
    assert all(map(torch.equal, weights[8], weights[9])), "update 8 of 8 and later ones have no bonus"


@pytest.mark.parametrize("options", [TUNED, EVERYTHING], ids=["tuned", "everything"])
def test_a_tuned_learner_goes_on_bit_for_bit(options):
    straight, generator, noise = make(**options), source(), source(1)
    play(straight, 12, 4, generator, noise)
    resumed = make(**options)
    resumed.load_state_dict(stored(straight.state_dict()))
    twins = generator.clone_state(), noise.clone_state()
    assert play(resumed, 12, 4, *twins) == play(straight, 12, 4, generator, noise)
    for a, b in zip(resumed.controller.parameters(), straight.controller.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_from_before_updates_were_counted_loads():
    strategy = make()
    play(strategy, 4, 2, source(), source(1))
    state = strategy.state_dict()
    del state["told"]
    twin = make()
    twin.load_state_dict(state)
    assert (twin.told, twin.baseline) == (0, strategy.baseline)
