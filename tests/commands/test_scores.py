"""What genotypes are scored by, on which images, and how often: searches by the real script."""

import math

import pytest
import torch

from controller import strategies
from controller.random_search import RandomSearch
from engine.scoring import Scorer
from engine.tasks import TASKS, Task
from tests.harness import finished, genotypes, interrupted, metrics, only_run, result_of, same_run, start
from utils.system import checkpoint

FULL = ["--image_size", "16", "--no-tensorboard", "--epochs", "2"]
QUICK = [*FULL, "--train_images", "480"]
LOSS = ["--score", "loss"]


class Narrow(RandomSearch):
    """Asks for three genotypes only, over and over, and remembers what it was told."""

    def __init__(self, positions, **_options):
        super().__init__(positions)
        self.pool, self.told = positions.uniform(3, torch.Generator().manual_seed(0)), []

    def ask(self, n, generator, fits=None):
        picked = torch.randint(3, (n,), generator=generator).tolist()
        self.asked = tuple(self.pool[i] for i in picked)
        return self.asked

    def tell(self, scores):
        self.told += scores
        return {"reward": sum(scores) / len(scores)}

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state):
        self.told = state["told"]


class Colour(Task):
    """A task that knows no accuracy."""

    name, measure = "colour", "closeness"
    loss = validation_loss = meter = measures = None  # it is refused before any of these


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setitem(strategies.STRATEGIES, "narrow", Narrow)


@pytest.fixture
def scored(monkeypatch):
    """What every call of the scorer was asked: genotypes, numbers of the batches."""
    calls, original = [], Scorer.metrics

    def watched(self, genotypes, batches, *more):
        shown = list(batches)
        calls.append((list(genotypes), [batch.images.sum().item() for batch in shown]))
        return original(self, genotypes, shown, *more)

    monkeypatch.setattr(Scorer, "metrics", watched)
    return calls


def broken(monkeypatch, when) -> None:
    """Let scores be no number of the genotypes that ``when`` is true for."""
    original = Scorer.metrics

    def spoilt(self, genotypes, *more):
        found = original(self, genotypes, *more)
        return [{**m, "score": math.nan} if when(genotype) else m for genotype, m in zip(genotypes, found, strict=True)]

    monkeypatch.setattr(Scorer, "metrics", spoilt)


def test_a_search_by_loss_rewards_validates_and_ranks_by_it_and_says_so(tmp_path, capsys):
    folder = finished("search", tmp_path, *QUICK, *LOSS, "--searcher", "evolution", "--controller_samples", "8")
    output = capsys.readouterr().out
    for line in metrics(folder):
        assert line["valid/score"] == pytest.approx(100 * math.exp(-line["valid/loss"]), rel=0.1), "a mean of exp"
        assert 0 < line["controller/reward"] < 100
    document = genotypes(folder)
    assert document["score"] == "loss"
    found = [c["score"] for c in document["candidates"]]
    assert found == sorted(found, reverse=True)
    assert all(0 < score < 100 for score in found)
    assert "probability of the right class" in output
    assert "chance" not in output
    assert "spread" not in result_of(folder)
    accuracies = [c["top1"] for c in document["candidates"]]
    assert result_of(folder)["mean_top1"] == pytest.approx(sum(accuracies) / len(accuracies))
    assert "candidates: mean top1" in output


def test_updates_go_on_through_the_reward_batches_and_share_theirs(tmp_path, scored):
    flags = [*FULL, "--batch_size", "40", "--controller_samples", "3", "--valid_steps", "0"]
    seen = {}
    for each in (1, 2):
        scored.clear()
        finished("search", tmp_path / str(each), *flags, "--searcher", "random", "--reward_batches", str(each))
        seen[each] = scored[:6]
        assert all(len(asked) == 3 and len(shown) == each for asked, shown in seen[each])
    in_turn = {each: [image for _, shown in calls for image in shown] for each, calls in seen.items()}
    assert in_turn[2][:6] == in_turn[1]
    assert len(set(in_turn[1])) == 6
    assert [asked for asked, _ in seen[1]][:3] == [asked for asked, _ in seen[2]][:3]


def test_nothing_is_scored_twice_with_the_same_weights_and_evaluations_are_counted(narrow, scored, tmp_path):
    flags = ["--searcher", "narrow", "--controller_samples", "4", "--controller_steps", "5", "--valid_steps", "0"]
    folder = finished("search", tmp_path, *QUICK, *LOSS, *flags)
    updates, told = scored[:10], torch.load(folder / "checkpoint.pt", weights_only=True)["extras"]["strategy"]["told"]
    assert len(told) == 2 * 5 * 4, "every genotype that was asked for gets its score"
    for epoch, line in enumerate(metrics(folder)):
        asked = [genotype for found, _ in updates[5 * epoch : 5 * epoch + 5] for genotype in found]
        assert len(asked) == len(set(asked)) == line["controller/evaluations"] <= 3
        assert len(set(told[20 * epoch : 20 * epoch + 20])) <= 3
    assert not set(told[:20]) & set(told[20:]), "the weights were trained in between"


KNOWING = [*QUICK, *LOSS, "--searcher", "narrow", "--controller_samples", "4", "--controller_steps", "5"]
KNOWING += ["--reward_batches", "2", "--batch_size", "128"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A search that knows scores, without a stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(strategies.STRATEGIES, "narrow", Narrow)
        return finished("search", tmp_path_factory.mktemp("straight"), *KNOWING)


@pytest.mark.usefixtures("narrow")
def test_a_search_that_knows_scores_goes_on_bit_for_bit(straight, tmp_path):
    """Stopped behind updates of either epoch, whose scores later updates use again."""

    def go_on() -> int:
        state = torch.load(only_run(tmp_path, "search") / "checkpoint.pt", weights_only=True)
        assert state["position"]["phase"] == "strategy"
        assert 0 < len(state["extras"]["known"]["scores"]) <= 3
        return start("search", tmp_path, *KNOWING, "--resume", "auto")

    interrupted(lambda: start("search", tmp_path, *KNOWING), go_on, 5, 8, 16)
    folder = only_run(tmp_path, "search")
    assert metrics(folder) == metrics(straight)
    assert genotypes(folder)["candidates"] == genotypes(straight)["candidates"]
    left, right = (torch.load(f / "checkpoint.pt", weights_only=True)["extras"] for f in (folder, straight))
    assert left == right


def test_a_checkpoint_of_before_scores_were_kept_goes_on(tmp_path):
    straight = finished("search", tmp_path / "straight", *QUICK)
    folder = finished("search", tmp_path / "old", *QUICK, "--epochs", "1")
    path = folder / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["extras"]["known"]
    for name in ("score", "reward_batches"):
        del state["flags"][name]
    checkpoint.save(path, state)
    assert start("search", tmp_path / "old", *QUICK, "--resume", "auto") == 0
    same_run(folder, straight, "search")


@pytest.mark.parametrize("phase", ["strategy", "report"])
def test_a_score_that_is_no_number_ends_the_run_and_the_last_checkpoint_stays(phase, tmp_path, monkeypatch, capsys):
    flags = [*QUICK, *LOSS, *(["--controller_steps", "0"] if phase == "report" else [])]
    folder = finished("search", tmp_path, *flags, "--epochs", "1")
    before = (folder / "checkpoint.pt").read_bytes()
    broken(monkeypatch, lambda _genotype: True)
    capsys.readouterr()
    assert start("search", tmp_path, *flags, "--resume", "auto") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "score is not finite in epoch 1, genotype [[" in line
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_a_candidate_without_a_score_ranks_last_and_none_with_one_is_a_fault(tmp_path, monkeypatch, capsys):
    flags = [*QUICK, "--epochs", "1", "--controller_steps", "0", "--valid_steps", "0", "--derive_samples", "4"]
    good = genotypes(finished("search", tmp_path / "good", *flags))["candidates"]
    with monkeypatch.context() as patch:
        broken(patch, lambda genotype: genotype.to_lists() == good[0]["cells"])
        folder = finished("search", tmp_path / "one", *flags)
    found = genotypes(folder)["candidates"]
    assert [c["cells"] for c in found] == [c["cells"] for c in [*good[1:], good[0]]]
    assert found[-1]["score"] is None
    assert result_of(folder)["score"] == good[1]["score"]
    broken(monkeypatch, lambda _genotype: True)
    capsys.readouterr()
    assert start("search", tmp_path / "none", *flags) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "not finite in any of 4 genotypes" in line
    assert not (only_run(tmp_path / "none", "search") / "result.json").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--score", "top1", "--task", "colour"], "--score top1"),
        (["--score", "top5"], "--score"),
        (["--reward_batches", "0"], "--reward_batches"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_any_work(flags, named, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(TASKS, "colour", Colour)
    assert start("search", tmp_path, *flags) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert named in line
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("narrow")
def test_another_score_does_not_go_on_with_a_run(straight, tmp_path, capsys):
    assert start("search", tmp_path, *KNOWING, "--score", "top1", "--resume", str(straight)) == 2
    assert "--score is top1 now but was loss" in capsys.readouterr().err
