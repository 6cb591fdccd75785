"""Comparisons of searchers as users run them, tiny; see studies/compare.py."""

import json
import signal

import pytest
import torch

import train_search_cifar
from ops.genotype import Genotype
from studies import compare, study
from studies.compare_tables import MEDIAN, comparison_lines, judge, picture
from studies.searches import QUIET, search_frozen, train_weights
from tests.harness import only_run, stop_after
from tests.miniature import tree
from tests.studies.stopping import make_until_the_third

pytestmark = pytest.mark.pictures

SEARCH = ["--data", "digits", "--train_images", "300", "--no-flip", "--blocks", "[1]", "--child_out_filters", "4"]
SEARCH += ["--batch_size", "60", "--epochs", "1", "--valid_steps", "1", "--controller_samples", "5", "--canonical"]
SIZES = ["--seeds", "0,1", "--evaluations", "20", "--candidates", "6", "--standalone_epochs", "1", "--device", "cpu"]


def comparison(result, *more: str, behind=()) -> int:
    """Run a comparison in this process; its exit status."""
    words = [*SIZES, "--result", str(result), "--retrain", "--stem quarter --batch_size 75", *more, "--", *SEARCH]
    try:
        return compare.main([*words, *behind])
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where a comparison was run without an interruption."""
    result = tmp_path_factory.mktemp("whole")
    assert comparison(result) == 0
    return result / "studies" / "study"


def test_every_searcher_has_the_same_evaluations_and_candidates_and_its_best_is_trained(whole):
    document = json.loads((whole / "study.json").read_text())
    assert list(document["searchers"]) == ["rl", "random", "evolution"]
    for searcher, own in document["searchers"].items():
        for seed, trace in zip((0, 1), own, strict=True):
            piece = json.loads((whole / f"traces/{searcher}-seed{seed}.json").read_text())
            assert trace["asked"] == len(trace["scores"]) == 20
            assert piece["drawn"] == 6
            assert trace["distinct"] <= 20
            assert len(piece["told"]) == 4
            scores = [candidate["score"] for candidate in piece["candidates"]]
            assert scores == sorted(scores, reverse=True)
            assert document["picked"][searcher][seed] == piece["candidates"][0]["cells"]
            if searcher == "random":
                assert document["picked"][MEDIAN][seed] == piece["candidates"][len(scores) // 2]["cells"]
    assert set(document["alone"]) == {"rl", "random", "evolution", MEDIAN}
    assert set(document["against random"]) == {"rl", "evolution"}
    assert set(document["against median"]) == {"rl", "random", "evolution"}
    assert (whole / "compare.png").stat().st_size > 5000


def test_all_searchers_search_on_weights_that_one_run_trained_on_uniform_paths(whole):
    runs = sorted(path.name[:5] for path in (whole / "search").iterdir())
    assert runs == ["seed0", "seed1"]
    for path in (whole / "search").iterdir():
        flags = json.loads((path / "config.json").read_text())["flags"]
        assert flags["warmup_epochs"] == flags["epochs"] == 1
        assert flags["seed"] == int(path.name[4])


def test_scores_of_a_search_on_frozen_weights_can_be_had_again(whole):
    changes = {"device": "cpu", "warmup_epochs": 0}
    again = search_frozen(whole, 1, "evolution", changes, 4, 6)
    kept = json.loads((whole / "traces/evolution-seed1.json").read_text())
    assert again == kept


def test_a_stopped_comparison_goes_on_to_the_same_bytes(whole, tmp_path, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(study, "make", make_until_the_third)
        assert comparison(tmp_path) == 128 + signal.SIGTERM
    assert capfd.readouterr().err == "studies.compare: stopped by SIGTERM; the same command goes on from here\n"
    folder = tmp_path / "studies" / "study"
    assert 3 <= len(list((folder / "traces").iterdir())) < 6
    assert comparison(tmp_path) == 0
    for name in ("study.json", "study.md"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_shared_weights_stop_and_go_on_by_themselves(tmp_path, monkeypatch, capsys):
    flags = [*SEARCH, "--device", "cpu"]
    with monkeypatch.context() as patch:
        stop_after(patch, 3, signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            train_weights(flags, 1, tmp_path / "parts", 4)
    assert end.value.code == 128 + signal.SIGTERM
    run = only_run(tmp_path / "parts", "search")
    assert train_weights(flags, 1, tmp_path / "parts", 4) == {"run": run.name}
    assert capsys.readouterr() == ("", "")
    only = ["--warmup_epochs", "1", "--searcher", "random", "--derive_samples", "1", "--top_k", "1", *QUIET]
    flags += [*only, "--seed", "4", "--save", "w", "--result", str(tmp_path / "straight")]
    assert train_search_cifar.main(flags) == 0
    straight = only_run(tmp_path / "straight", "search")
    left, right = (torch.load(f / "checkpoint.pt", weights_only=True)["model"] for f in (run, straight))
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(
    ("more", "behind", "words"),
    [
        (["--searchers", "random,luck"], [], ["luck", "evolution"]),
        (["--searchers", "rl,evolution"], [], ["random", "missing"]),
        (["--seeds", "3"], [], ["--seeds 3", "2 seeds"]),
        (["--evaluations", "18"], [], ["18", "5", "--controller_samples"]),
        (["--retrain", "--stem 'quarter"], [], ["--retrain", "quotation"]),
        (["--retrain", "--seed 4"], [], ["--seed"]),
        ([], ["--searcher", "rl"], ["--searcher", "behind --"]),
        ([], ["--data", "nowhere"], ["nowhere"]),
        (["--evaluations", "30"], [], ["other settings", "evaluations is 30 now but 20 there"]),
        ([], ["--child_lr_max", "0.1"], ["other settings", "--child_lr_max is 0.1 now but not set there"]),
    ],
)
def test_wrong_use_is_refused_in_one_line_and_touches_nothing(whole, more, behind, words, capsys):
    result = whole.parent.parent
    before = tree(result).keys()
    assert comparison(result, *more, behind=behind) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []
    assert tree(result).keys() == before


def test_tables_and_tests_are_those_of_the_numbers():
    def traces(*best: float) -> list[dict]:
        told = [{"entropy": 5.0}, {"entropy": 2.0}]
        scores, cells = [1.0, 3.0, 2.0, 0.0], Genotype.widest(2).to_lists()
        candidates = [{"score": score, "cells": cells} for score in best]
        return [
            {"asked": 4, "distinct": 3, "scores": scores, "told": told, "drawn": 2, "candidates": candidates}
            for _seed in range(3)
        ]

    def results(*top1: float) -> list[dict]:
        return [{"valid/top1": value, "valid/loss": 1 / value, "cells": []} for value in top1]

    alone = {"rl": results(52, 54, 53), "random": results(50, 51, 51), MEDIAN: results(49, 50, 51)}
    settings = {"search": {}, "trained alone": {}, "evaluations": 4, "candidates": 2}
    document = judge(settings, [0, 1, 2], "top1", {"rl": traces(9.0, 7.0), "random": traces(5.0)}, alone)
    test = document["against random"]["rl"]["top1"]
    assert (test["pairs"], test["mean"]) == (3, pytest.approx(7 / 3))
    assert document["searchers"]["rl"][0]["mean_score"] == 8
    text = "\n".join(comparison_lines(document))
    assert "| rl | 53.00 ± 1 | 0.0189 ± 0.00036 | 8 | 9 | 2 | 4 | 3 | 5 | 2 |" in text
    best, mean = picture(document).axes
    assert best.lines[0].get_ydata().tolist() == [1, 3, 3, 3]
    assert mean.lines[0].get_xydata().tolist() == [[2, 2], [4, 1]]
