"""Comparisons of methods as users run them, tiny; see studies/compare.py."""

import json
import shutil
import signal

import pytest
import torch

import train_search_cifar
from engine.configuration import parse_search
from engine.tasks.pretext import VIEWS
from models.cost import network_cost
from models.spec import NetworkSpec
from ops.genotype import Genotype
from studies import compare, study
from studies.compare_report import DRAWN, comparison_lines, judge
from studies.methods import Plan, make_plan
from studies.searches import QUIET, search_method
from studies.trainings import fitting_filters
from tests.conftest import paint
from tests.harness import only_run, stop_after
from tests.miniature import tree
from tests.studies.stopping import make_until_the_third

SEARCH = "--data digits --image_size 16 --train_images 300 --no-flip --batch_size 60 --valid_steps 1".split()
SEARCH += ["--controller_steps", "2", "--controller_samples", "2", "--derive_samples", "2"]
SEARCH += ["--rank_by", "shared", "--finals", "0"]
SIZES = ["--seeds", "0,1", "--search_filters", "4", "--blocks", "[1]", "--params", "8e4", "--train_epochs", "1"]
RANDOM = f"{DRAWN}slnas"
TIMES = {"search_s", "derive_s", "train_s"}


def comparison(result, *more: str, behind=(), names: str = "slnas,random") -> int:
    """Run a comparison in this process; its exit status."""
    words = ["--methods", names, *SIZES, "--budget", "1120", "--device", "cpu", "--result", str(result)]
    words += ["--retrain", "--stem quarter --batch_size 75", *more, "--", *SEARCH]
    try:
        return compare.main([*words, *behind])
    except SystemExit as end:
        return end.code


def study_of(folder) -> dict:
    """study.json, without what a clock says."""
    document = json.loads((folder / "study.json").read_text())
    for row in document["methods"].values():
        for key in TIMES & row.keys():
            assert all(value > 0 for value in row.pop(key))
    return document


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where a comparison was run without an interruption."""
    result = tmp_path_factory.mktemp("whole")
    assert comparison(result) == 0
    return result / "studies" / "study"


def test_every_method_has_the_same_budget_and_its_winner_the_same_parameters_and_training(whole):
    document = study_of(whole)
    assert list(document["methods"]) == ["slnas", "random", RANDOM]
    for name, row in document["methods"].items():
        assert all(abs(parameters - 8e4) <= 8e3 for parameters in row["parameters"])
        assert row["agrees"] == [True, True]
        assert len(row["top1"]) == len(row["macs"]) == 2
        if name == RANDOM:
            assert "epochs" not in row
            assert row["less_random"] == [0, 0]
            continue
        assert row["epochs"] == document["methods"]["random"]["epochs"] == [2, 2]
        for seed, images in zip((0, 1), row["images"], strict=True):
            piece = json.loads((whole / f"searches/{name}-seed{seed}.json").read_text())
            lines = (whole / "search" / piece["run"] / "metrics.jsonl").read_text().splitlines()
            records = [json.loads(line) for line in lines]
            assert {record["images/trained"] for record in records} == {239}
            scored = [record["images/scored"] for record in records]
            assert scored[0] in (59, 60), "a batch for the report, and nothing else in the warm-up"
            assert abs(scored[1] - 60 * (1 + records[1]["controller/evaluations"])) <= 5, "of 60 images, or of 59"
            assert images == 2 * 239 + sum(scored) <= 1000
            best = json.loads((whole / "search" / piece["run"] / "genotypes.json").read_text())["candidates"][0]
            assert row["genotypes"][seed]["cells"] == best["cells"]


def test_the_same_command_paints_the_picture_anew(whole, monkeypatch):
    paint(monkeypatch)
    assert comparison(whole.parent.parent) == 0
    assert (whole / "compare.png").stat().st_size > 5000


def test_the_table_has_what_was_measured(whole):
    text = (whole / "study.md").read_text()
    for name, row in study_of(whole)["methods"].items():
        assert f"| {name} | slnas | {sum(row['top1']) / 2:.2f} ±" in text


def test_methods_are_tested_against_random_genotypes_and_random_search_seed_by_seed():
    def trained(*top1: float) -> list[dict]:
        sizes = {"parameters": 1, "filters": 2, "macs": 1, "agrees": True, "seconds": 1.0}
        genotype = {"space": "slnas"}
        return [{"genotype": genotype, "valid/top1": value, "valid/loss": 1 / value, **sizes} for value in top1]

    found = [dict.fromkeys(("epochs", "search_s", "derive_s", "images", "derive_images"), 1.0)] * 3
    results = {"slnas": trained(52, 54, 53), "random": trained(50, 51, 51), RANDOM: trained(49, 50, 51)}
    settings = {"budget": "images=1", "parameters": 1, "trained alone": {}, "searches": {}}
    document = judge(settings, [0, 1, 2], "top1", {"slnas": found, "random": found}, results)
    against = {name: row["against"] for name, row in document["methods"].items()}
    assert {name: list(others) for name, others in against.items()} == {
        "slnas": [RANDOM, "random"],
        "random": [RANDOM],
        RANDOM: [],
    }
    test = against["slnas"]["random"]["top1"]
    assert (test["pairs"], test["mean"]) == (3, pytest.approx(7 / 3))
    row = f"| slnas | random | top1 | {test['mean']:+.4g} | {test['std']:.3g} | {test['t_p']:.3g} |"
    assert row in "\n".join(comparison_lines(document))


def test_a_stopped_comparison_goes_on_to_the_same_table(whole, tmp_path, monkeypatch, capfd):
    """Of the trainings all but two are there already."""
    folder = tmp_path / "studies" / "study"
    shutil.copytree(whole / "standalone", folder / "standalone")
    shutil.copy(whole / "settings.json", folder)
    for missing in sorted((folder / "standalone").iterdir())[:2]:
        missing.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(study, "make", make_until_the_third)
        assert comparison(tmp_path) == 128 + signal.SIGTERM
    assert capfd.readouterr().err == "studies.compare: stopped by SIGTERM; the same command goes on from here\n"
    assert 3 <= len(list((folder / "searches").glob("*.json"))) <= 4
    assert not (folder / "study.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "searches").glob("*.json")}
    assert comparison(tmp_path) == 0
    assert {name: (folder / "searches" / name).stat().st_mtime_ns for name in kept} == kept
    assert study_of(folder) == study_of(whole)


def test_the_strategies_of_the_field_search_the_space_of_a_benchmark(tmp_path):
    names = "regularized_evolution,predictor"
    more = ["--space", "nasbench201", "--seeds", "1", "--retrain", "--batch_size 75"]
    assert comparison(tmp_path, *more, names=names) == 0
    document = study_of(tmp_path / "studies" / "study")
    assert set(document["methods"]) == {*names.split(","), f"{DRAWN}nasbench201"}


@pytest.mark.parametrize(
    ("more", "behind", "names", "words"),
    [
        ([], [], "slnas,luck", ["luck", "slnas, shared, halving, zero_cost, enas, darts, nao, random, evolution"]),
        (["--budget", "200"], [], "random", ["--budget 200", "one epoch of random", " images"]),
        (["--budget", "seconds=3"], [], "random", ["--budget", "seconds=3", "positive number"]),
        (["--params", "100"], [], "random", ["--params 100", "slnas"]),
        (["--retrain", "--stem 'quarter"], [], "random", ["--retrain", "quotation"]),
        (["--random", "--searcher rl"], [], "random", ["--searcher", "behind --random"]),
        ([], ["--epochs", "3"], "random", ["--epochs", "behind --"]),
        ([], ["--data", "nowhere"], "random", ["nowhere"]),
        (["--params", "3e4"], [], "slnas,random", ["other settings", "30000", "80000"]),
        ([], ["--child_lr_max", "0.2"], "slnas,random", ["other settings", "--child_lr_max"]),
    ],
)
def test_wrong_use_is_refused_in_one_line_and_touches_nothing(whole, more, behind, names, words, capsys):
    result = whole.parent.parent
    before = tree(result).keys()
    assert comparison(result, *more, behind=behind, names=names) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []
    assert tree(result).keys() == before


def test_a_search_of_a_study_stops_and_goes_on_by_itself(tmp_path, monkeypatch, capsys):
    flags = [*SEARCH, "--blocks", "[1]", "--child_out_filters", "4", "--epochs", "1", "--device", "cpu"]
    with monkeypatch.context() as patch:
        stop_after(patch, 3, signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            search_method(flags, tmp_path / "parts", "rl", 4)
    assert end.value.code == 128 + signal.SIGTERM
    run = only_run(tmp_path / "parts", "search")
    assert search_method(flags, tmp_path / "parts", "rl", 4)["run"] == run.name
    assert capsys.readouterr() == ("", "")
    flags += [*QUIET, "--report_freq", "1000000", "--seed", "4", "--save", "w", "--result", str(tmp_path / "straight")]
    assert train_search_cifar.main(flags) == 0
    straight = only_run(tmp_path / "straight", "search")
    left, right = (torch.load(f / "checkpoint.pt", weights_only=True)["model"] for f in (run, straight))
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_budget_of_images_counts_every_view_that_a_task_without_labels_shows():
    shape = ["--blocks", "[1]", "--stem", "full", "--child_out_filters", "4", "--device", "cpu"]
    plans = [
        make_plan("slnas", "slnas", shape, SEARCH, ["--task", task], views * 5000)
        for task, views in (("classify", 1), ("rotation", VIEWS))
    ]
    assert plans[0].epochs > 1
    assert {plan.epochs for plan in plans} == {plans[0].epochs}


def test_restarts_are_spread_over_the_epochs_that_fit():
    words = ["--recipe", "enas"]
    plan = Plan("enas", "slnas", tuple(words), parse_search(words))
    assert parse_search(plan.adapted(30)).child_lr_T_0 == 2
    assert parse_search(plan.adapted(150)).child_lr_T_0 == 10


@pytest.mark.parametrize("parameters", [3000, 50_000])
def test_filters_are_those_whose_network_is_nearest(parameters):
    genotype, spec = Genotype.widest(2), NetworkSpec((1,), 4, 10)
    filters, cost = fitting_filters(genotype, spec, 32, parameters)
    each = {f: network_cost(genotype, NetworkSpec((1,), f, 10), 32).parameters for f in range(2, 71, 2)}
    assert abs(cost.parameters - parameters) == min(abs(value - parameters) for value in each.values())
    assert each[filters] == cost.parameters


def test_more_random_genotypes_begin_with_the_same_ones():
    one, more = (compare.random_genotypes("darts", n, 3) for n in (1, 3))
    assert more[0] == one[0]
    assert len(set(more)) == 3
