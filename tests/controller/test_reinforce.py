import pytest
import torch

from controller.policy import Controller
from controller.reinforce import Reinforce, policy_loss
from tests.genes import stored


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def learner(**settings) -> Reinforce:
    return Reinforce(Controller(1, "block"), **settings)


def probability_of_first_op(rl: Reinforce, op: int) -> float:
    genotypes = rl.sample(64, torch.Generator().manual_seed(9))
    return sum(rl.controller.probabilities(g)[0][1][0][op].item() for g in genotypes) / len(genotypes)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rewarded_operation_becomes_likelier_and_a_punished_one_rarer(sign):
    rl = learner(lr=1e-2)
    source = torch.Generator().manual_seed(0)
    before = probability_of_first_op(rl, 3)
    assert before == pytest.approx(0.2, abs=0.02)
    for _ in range(80):
        genotypes = rl.ask(4, source)
        rl.tell([sign * float(g.cells[0][1] == 3) for g in genotypes])
    after = probability_of_first_op(rl, 3)
    assert after > 0.24 if sign > 0 else after < 0.17


def test_a_constant_reward_leaves_the_policy_alone():
    rl = learner(entropy_weight=0.0, lr=1e-2)
    before = {name: p.clone() for name, p in rl.controller.named_parameters()}
    source = torch.Generator().manual_seed(0)
    for _ in range(20):
        rl.ask(1, source)
        stats = rl.tell([50.0])
        assert stats["advantage"] == 0
        assert stats["baseline"] == 50
    for name, parameter in rl.controller.named_parameters():
        assert torch.equal(parameter, before[name])


def test_the_baseline_follows_the_stated_recursion_and_moves_before_use():
    rl = learner(entropy_weight=0.0)
    source = torch.Generator().manual_seed(0)
    baseline = None
    for reward in (40.0, 60.0, 10.0, 90.0):
        baseline = reward if baseline is None else baseline
        baseline = baseline - 0.05 * (baseline - reward)
        rl.ask(1, source)
        stats = rl.tell([reward])
        assert stats["baseline"] == pytest.approx(baseline)
        assert stats["advantage"] == pytest.approx(reward - baseline, rel=1e-5, abs=1e-6)


def test_the_entropy_bonus_enters_the_reward():
    rl = learner(entropy_weight=0.5)
    rl.ask(1, torch.Generator().manual_seed(0))
    stats = rl.tell([10.0])
    assert stats["reward"] == pytest.approx(10 + 0.5 * stats["entropy"])


def test_the_advantage_carries_no_gradient():
    log_prob = torch.tensor([-3.0], requires_grad=True)
    advantage = torch.tensor([2.0], requires_grad=True)
    policy_loss(log_prob, advantage).backward()
    assert advantage.grad is None
    assert log_prob.grad.item() == -2


@pytest.mark.parametrize("scores", [[float("nan")], [float("inf")], [1.0, 2.0], []])
def test_scores_that_cannot_be_learned_from_are_refused(scores):
    rl = learner()
    rl.ask(1, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"finite|one score"):
        rl.tell(scores)


def test_a_saved_learner_goes_on_bit_for_bit():
    def steps(rl, source, count):
        for _ in range(count):
            genotypes = rl.ask(1, source)
            rl.tell([float(sum(genotypes[0].cells[0]))])

    source = torch.Generator().manual_seed(0)
    straight = learner(lr=1e-3)
    steps(straight, source, 8)  # past one Lookahead synchronisation, in the middle of the next
    resumed, twin = learner(lr=1e-3), source.clone_state()
    resumed.load_state_dict(stored(straight.state_dict()))
    steps(straight, source, 10)
    steps(resumed, twin, 10)
    assert resumed.baseline == straight.baseline
    for a, b in zip(resumed.controller.parameters(), straight.controller.parameters(), strict=True):
        assert torch.equal(a, b)
