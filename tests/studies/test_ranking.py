"""Studies of rankings as users run them, tiny; see studies/ranking.py."""

import json
import shutil
import signal

import pytest
import torch
from scipy import stats

from engine.open_search import open_search, shared_metrics
from models.network import Network
from ops.genotype import Genotype
from studies import ranking
from studies import study as shared
from studies.trainings import draw_genotypes
from tests.commands.test_one_writer import end, in_child
from tests.harness import metrics, run
from tests.miniature import tree
from tests.studies.stopping import make_until_the_third
from utils.system import checkpoint
from utils.system.errors import UsageError
from utils.system.lock import FolderLock

pytestmark = pytest.mark.pictures

ALONE = ["--stem", "quarter", "--child_lr_max", "0.05", "--weight_decay", "1e-4"]
SEVERAL = ["--genotypes", "5", "--epochs", "1", "--filters", "6", "--batch_size", "75", "--device", "cpu"]
RANKERS = ["--rankers", "parameters,nwot,parameters+nwot"]


def study(runs, result, *more: str) -> int:
    """Run a study of a search, or of a list of them, in this process; its exit status."""
    behind = [] if "--" in more else ["--"]
    runs = map(str, runs if isinstance(runs, list) else [runs])
    try:
        return ranking.main([*runs, *SEVERAL, *RANKERS, "--result", str(result), *more, *behind, *ALONE])
    except SystemExit as end:
        return end.code


def document_of(result, name: str = "study") -> dict:
    return json.loads((result / "studies" / name / "study.json").read_text())


@pytest.fixture(scope="module")
def whole(searched, tmp_path_factory):
    """Where a study was run without an interruption."""
    result = tmp_path_factory.mktemp("whole")
    assert study(searched, result) == 0
    return result


def test_statistics_are_those_of_the_numbers_beside_them(whole):
    document = document_of(whole)
    assert list(document["rankers"]) == ["shared (loss)", "shared (top1)", "parameters", "nwot", "parameters+nwot"]
    rows = document["genotypes"]
    assert len(rows) == 5
    for ranker, by_result in document["rankers"].items():
        scores = [row["scores"][ranker] for row in rows]
        for name, sign in (("top1", 1), ("loss", -1)):
            true = [sign * sum(r[f"valid/{name}"] for r in row["alone"]) / 2 for row in rows]
            assert by_result[name]["tau"][0] == pytest.approx(stats.kendalltau(true, scores).statistic)
            best = sorted(range(5), key=lambda i: -scores[i])[0]
            assert by_result[name]["true_ranks"][0] == sum(value > true[best] for value in true)
    losses = list(zip(*[[r["valid/loss"] for r in row["alone"]] for row in rows], strict=True))
    assert document["floor"]["loss"]["tau"] == pytest.approx(stats.kendalltau(*losses).statistic)
    assert document["alone"]["loss"]["noise"] == pytest.approx(
        (sum((a - b) ** 2 / 2 for a, b in zip(*losses, strict=True)) / 5) ** 0.5
    )
    assert document["between"] is None, "there is one search"
    assert (whole / "studies/study/ranking.png").stat().st_size > 5000


def test_searches_are_compared_with_one_another(searched, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(searched, twin)
    state = checkpoint.load(twin / "checkpoint.pt")
    generator = torch.Generator().manual_seed(0)
    state["model"] = {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in state["model"].items()}
    checkpoint.save(twin / "checkpoint.pt", state)
    assert study([searched, twin], tmp_path, "--genotypes", "6", "--seeds", "0", "--epochs", "1") == 0
    document = document_of(tmp_path)
    columns = [
        [row["scores"][name] for row in document["genotypes"]]
        for name in document["rankers"]
        if name.startswith("shared (loss)")
    ]
    assert document["between"] == pytest.approx(stats.kendalltau(*columns).statistic)
    assert "rank these genotypes alike" in (tmp_path / "studies/study/study.md").read_text()


def test_every_number_is_in_the_tables(whole):
    text = (whole / "studies/study/study.md").read_text()
    document = document_of(whole)
    for ranker, by_result in document["rankers"].items():
        tau = by_result["loss"]["tau"]
        assert f"| {ranker} | {tau[0]:.2f} [{tau[1]:.2f}, {tau[2]:.2f}] |" in text


def test_stand_alone_results_are_those_of_the_retrainer_bit_for_bit(whole, tmp_path):
    piece = json.loads(sorted((whole / "studies/study/standalone").glob("*-seed1.json"))[0].read_text())
    flags = "--epochs 1 --child_out_filters 6 --batch_size 75 --train_images 300 --image_size 16 --no-flip".split()
    arch = ["--arch", json.dumps(piece["cells"]), "--seed", str(piece["seed"]), "--no-tensorboard"]
    folder = run("retrain", tmp_path, *flags, *ALONE, *arch)
    [epoch] = metrics(folder)
    assert piece["parameters"] == json.loads((folder / "result.json").read_text())["parameters"]
    ours = {key: value for key, value in piece.items() if "/" in key}
    assert ours == {key: epoch[key] for key in ours}
    assert {"valid/loss", "valid/top1"} <= ours.keys()


def test_a_stopped_study_goes_on_to_the_same_bytes(searched, whole, tmp_path, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(shared, "make", make_until_the_third)
        assert study(searched, tmp_path) == 128 + signal.SIGTERM
    error = capfd.readouterr().err
    assert error == "studies.ranking: stopped by SIGTERM; the same command goes on from here\n"
    folder = tmp_path / "studies" / "study"
    assert 3 <= len(list((folder / "standalone").iterdir())) < 10
    assert not (folder / "study.json").exists()
    assert study(searched, tmp_path, "--jobs", "2") == 0
    for name in ("study.json", "study.md"):
        assert (folder / name).read_bytes() == (whole / "studies/study" / name).read_bytes()


def test_more_genotypes_and_seeds_keep_what_is_there(searched, whole, tmp_path):
    shutil.copytree(whole / "studies", tmp_path / "studies")
    before = {name: data for name, data in tree(tmp_path).items() if "standalone" in name}
    assert study(searched, tmp_path, "--genotypes", "6", "--seeds", "0") == 0
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    document = document_of(tmp_path)
    assert len([name for name in after if "standalone" in name]) == 11
    assert [row["key"] for row in document["genotypes"][:5]] == [row["key"] for row in document_of(whole)["genotypes"]]
    assert document["floor"] == {"top1": None, "loss": None}
    assert "no tau below has a floor" in (tmp_path / "studies/study/study.md").read_text()


def test_shared_weights_score_as_the_network_that_inherits_them_would(searched):
    s = open_search(searched, device="cpu")
    [genotype] = draw_genotypes(1, "uniform", 0, [1], "type", "slnas")
    network = s.learner.model.inherit(genotype).train()  # batch statistics, as the search scores
    s.data.rewards.set_epoch(0)
    with torch.no_grad():
        batches = [(network(batch.images)[0].argmax(1) == batch.labels) for batch in s.data.rewards]
    assert shared_metrics(s, [genotype])[0]["top1"] == pytest.approx(100 * torch.cat(batches).double().mean().item())
    assert isinstance(network, Network)


def test_candidates_score_as_they_did_at_the_end_of_the_search(searched):
    s = open_search(searched, device="cpu")
    document = json.loads((searched / "genotypes.json").read_text())["candidates"]
    rescored = shared_metrics(s, [Genotype.from_lists(candidate["cells"]) for candidate in document])
    assert [metrics["score"] for metrics in rescored] == [candidate["score"] for candidate in document]


def test_a_search_is_opened_without_touching_it(searched):
    before = tree(searched.parent)
    s = open_search(searched, device="cpu", searcher="random")
    assert tree(searched.parent) == before
    kept = torch.load(searched / "checkpoint.pt", weights_only=True)["model"]
    assert all(torch.equal(value, kept[name]) for name, value in s.learner.model.state_dict().items())
    assert type(s.sampler.strategy).__name__ == "RandomSearch"
    assert s.data.rewards.num_images == 60


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--genotypes", "4"], ["--genotypes 4", "5 or more"]),
        (["--rankers", "parameters,luck"], ["luck", "jacob_cov"]),
        (["--epochs", "2"], ["other settings", "--epochs is 2 now but 1 there"]),
        (["--seed", "1"], ["other settings", "seed of the genotypes"]),
        (["--", "--seeds", "1,2"], ["--seeds", "behind --"]),
        (["--", "--aux_weight", "many"], ["aux_weight", "many"]),
        (["--data", "nowhere"], ["nowhere"]),
    ],
)
def test_wrong_use_is_refused_in_one_line_and_touches_nothing(searched, whole, more, words, capsys):
    before = tree(whole)
    assert study(searched, whole, *more) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []
    assert tree(whole).keys() == before.keys()


def test_runs_that_cannot_be_judged_are_refused(searched, tmp_path, capsys):
    def refused(*runs) -> str:
        assert study(list(runs), tmp_path / "result") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "there is no checkpoint.pt" in refused(tmp_path)
    assert "named twice" in refused(searched, searched)
    other = run("search", tmp_path, "--train_images", "200", "--epochs", "1", "--blocks", "[0]", "--no-flip")
    capsys.readouterr()
    assert "cannot be compared" in refused(searched, other)
    state = checkpoint.load(other / "checkpoint.pt")
    for changes, words in (
        ({"kind": "retrain"}, "no search checkpoint"),
        ({"flags": {**state["flags"], "space": "elsewhere"}}, "elsewhere"),
        ({"fingerprint": "another"}, "is not what"),
    ):
        checkpoint.save(other / "checkpoint.pt", {**state, **changes})
        assert words in refused(other)
    assert not (tmp_path / "result").exists()


def test_a_second_process_and_pieces_of_unknown_settings_are_refused(searched, tmp_path, capsys):
    folder = tmp_path / "studies" / "study"
    (folder / "standalone").mkdir(parents=True)
    child = in_child(lambda: FolderLock(folder))
    try:
        assert study(searched, tmp_path) == 2
        assert "another process" in capsys.readouterr().err
    finally:
        end(child)
    (folder / "standalone" / "some.json").write_text("{}")
    assert study(searched, tmp_path) == 2
    assert "settings.json" in capsys.readouterr().err


def test_a_piece_of_another_training_is_a_fault_that_names_it(searched, whole, tmp_path, capsys):
    shutil.copytree(whole / "studies", tmp_path / "studies")
    first = sorted((tmp_path / "studies/study/standalone").iterdir())[0]
    other = Genotype.widest(2).to_lists()
    first.write_text(json.dumps({**json.loads(first.read_text()), "cells": other}))
    assert study(searched, tmp_path) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert first.name in error
    with pytest.raises(UsageError):
        open_search(first)
