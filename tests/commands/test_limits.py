"""Searches by every strategy, with limits, warm-up and other networks to deploy; see runs.py."""

import io
import json
import re
import shlex
from contextlib import redirect_stdout

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import retrainer_cifar
from controller.constraints import pareto_front
from controller.sampling import uniform
from models.cost import network_cost
from models.network import Network
from models.spec import NetworkSpec
from ops.genotype import Genotype, parse_genotype
from tests.harness import genotypes, interrupted, metrics, only_run, start

SMALL = ["--image_size", "16", "--train_images", "450", "--batch_size", "50", "--epochs", "2"]
LIMIT = "--max_params"
DEPLOYED = ["--deploy_filters", "6", "--deploy_blocks", "[1,0]", "--deploy_image_size", "12", "--antialias", "all"]
LEARNED = ("reward", "loss", "baseline", "entropy", "advantage", "best", "generation")


def deployed(genotype: Genotype) -> Network:
    return Network(genotype, [1, 0], 6, 10, "full", antialias="all")


def parameters(genotype: Genotype) -> int:
    network = deployed(genotype)
    return network.num_parameters - network.num_aux_parameters


@pytest.fixture(scope="module")
def limit():
    """Parameters that half of all genotypes do not exceed."""
    pool = uniform(40, 2, "type", torch.Generator().manual_seed(0))
    spec = NetworkSpec((1, 0), 6, 10, "full", "all")
    return sorted(network_cost(g, spec, 12).parameters for g in pool)[20]


def search(result, *more: str):
    """A search in this process: its folder and what it printed."""
    output = io.StringIO()
    with redirect_stdout(output):
        assert start("search", result, *SMALL, "--batch_size", "120", *more) == 0
    return only_run(result, "search"), output.getvalue()


def evolved(limit: float) -> list[str]:
    return ["--searcher", "evolution", "--controller_samples", "8", LIMIT, str(limit), *DEPLOYED]


WIDE = ["--derive_samples", "12", "--top_k", "5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, limit):
    """Random search after a warm-up and evolution, under the same limit, and the default strategy without one."""
    made = tmp_path_factory.mktemp
    warm = ["--searcher", "random", "--warmup_epochs", "1", LIMIT, str(limit), *DEPLOYED, "--no-tensorboard"]
    return {
        "random": search(made("random"), *warm, *WIDE),
        "evolution": search(made("evolution"), *evolved(limit), *WIDE),
        "rl": search(made("rl"), "--controller_samples", "2", "--controller_lr", "1e-2", "--report_freq", "1"),
    }


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_candidates_keep_the_limit_and_are_ranked(name, runs, limit):
    document = json.loads((runs[name][0] / "genotypes.json").read_text())
    found = document["candidates"]
    assert 2 <= len(found) <= 5
    assert document["searcher"] == name
    assert document["ranked"] >= len(found)
    scores = [c["score"] for c in found]
    assert scores == sorted(scores, reverse=True)
    assert [c["rank"] for c in found] == list(range(len(found)))
    for candidate in (*found, *document["pareto_front"]):
        genotype = Genotype.from_lists(candidate["cells"])
        assert candidate["parameters"] == parameters(genotype) <= limit
        assert candidate["macs"] == deployed(genotype).macs(12)


@pytest.mark.parametrize("name", ["random", "evolution", "rl"])
def test_the_front_is_marked_and_no_candidate_beats_it(name, runs):
    document = json.loads((runs[name][0] / "genotypes.json").read_text())
    front, found = document["pareto_front"], document["candidates"]
    cost = document["pareto_cost"]
    assert document["pareto_cost"] == ("macs" if name == "rl" else "parameters")
    on_front = [c["cells"] for c in front]
    assert all(c["pareto"] == (c["cells"] in on_front) for c in found)
    assert found[0]["pareto"] or found[0]["score"] == max(c["score"] for c in front)
    points = [(c["score"], c[cost]) for c in (*found, *front)]
    expected = pareto_front(points, score=lambda p: p[0], cost=lambda p: p[1])
    assert {(c["score"], c[cost]) for c in front} == set(expected)
    assert [c[cost] for c in front] == sorted(c[cost] for c in front)


def test_the_warm_up_trains_shared_weights_and_nothing_else(runs):
    warm, after = metrics(runs["random"][0])
    assert not [tag for tag in warm if tag.removeprefix("controller/") in LEARNED and "controller" in tag]
    assert "shared/loss" in warm
    assert "controller/reward" in after
    assert 0 < after["controller/accepted"] < 1
    assert after["controller/seen"] > warm["controller/seen"]


def test_evolution_reports_its_generation(runs):
    first, second = metrics(runs["evolution"][0])
    assert 0 <= first["controller/generation"] < second["controller/generation"]
    assert second["controller/best"] >= second["controller/reward"]
    state = torch.load(runs["evolution"][0] / "checkpoint.pt", weights_only=True)["extras"]["strategy"]
    assert state["generation"] == 2
    assert len(state["parents"]) == 20


def test_pictures_are_in_tensorboard(runs):
    shown = {}
    for name in ("rl", "evolution"):
        events = EventAccumulator(str(runs[name][0])).Reload()
        shown[name] = {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}
        assert "controller/rewards" in events.Tags()["histograms"]
    heat = {f"controller/{kind}_{cell}" for kind in ("inputs", "operations") for cell in (0, 1)}
    assert set(shown["rl"]) == {"genotype/likely", "genotype/derived", "genotype/pareto", *heat}
    assert set(shown["evolution"]) == {"genotype/likely", "genotype/derived", "genotype/pareto"}
    assert shown["rl"]["genotype/likely"] == shown["rl"]["controller/inputs_0"] == [0, 1]
    assert shown["rl"]["genotype/derived"] == [2]


@pytest.mark.parametrize("name", ["evolution", "rl"])
def test_the_printed_command_trains_exactly_the_network_that_was_promised(name, runs, tmp_path):
    folder, output = runs[name]
    printed = re.search(r"^retrain it with:  (.*)$", output, re.MULTILINE)[1]
    first = json.loads((folder / "genotypes.json").read_text())["candidates"][0]
    assert printed == first["retrain"]
    python, script, *words = shlex.split(printed)
    assert (python, script) == ("python", "retrainer_cifar.py")
    short = ["--epochs", "1", "--batch_size", "480", "--no-tensorboard", "--result", str(tmp_path)]
    assert retrainer_cifar.main([*words, *short]) == 0
    result = json.loads((only_run(tmp_path, "retrain") / "result.json").read_text())
    assert result["genotype"] == first["cells"]
    for fact in ("parameters", "aux_parameters", "macs"):
        assert result[fact] == first[fact], fact
    if name != "rl":
        assert first["aux_parameters"] > 0


def test_other_deployments_change_what_is_promised(tmp_path):
    flags = ["--searcher", "random", "--controller_steps", "0", "--valid_steps", "0", "--derive_samples", "1"]
    flags += ["--train_images", "100", "--epochs", "1", "--no-tensorboard"]
    promised = []
    for i, more in enumerate([[], DEPLOYED[:2], DEPLOYED[2:4], DEPLOYED[4:6]]):
        folder, _ = search(tmp_path / str(i), *flags, *more)
        [found] = json.loads((folder / "genotypes.json").read_text())["candidates"]
        promised.append((found["parameters"], found["macs"], found["cells"]))
        assert parse_genotype(folder / "genotypes.json").to_lists() == found["cells"]
    plain, filters, blocks, size = promised
    assert all(cells == plain[2] for *_, cells in promised)
    assert filters[0] > plain[0] < blocks[0]
    assert size[0] == plain[0]
    assert size[1] < 0.7 * plain[1]


def same_state(a, b) -> None:
    """Everything in two checkpoints but flags, times and memory."""
    left, right = (torch.load(f / "checkpoint.pt", weights_only=True) for f in (a, b))
    assert left["extras"]["strategy"] == right["extras"]["strategy"]
    assert left["extras"]["seen"] == right["extras"]["seen"]
    assert all(torch.equal(left["model"][key], right["model"][key]) for key in left["model"])


def test_a_stopped_search_goes_on_bit_for_bit(runs, limit, tmp_path):
    """In the first epoch and in the second one, between two updates of the strategy: an epoch looks 8 times."""
    flags = [*SMALL, "--batch_size", "120", *evolved(limit), *WIDE]
    going_on = [*flags, "--resume", "auto"]
    interrupted(lambda: start("search", tmp_path, *flags), lambda: start("search", tmp_path, *going_on), 5, 13)
    folder, straight = only_run(tmp_path, "search"), runs["evolution"][0]
    assert metrics(folder) == metrics(straight)
    same_state(folder, straight)
    assert genotypes(folder) == genotypes(straight)


@pytest.mark.parametrize("searcher", ["rl", "random", "evolution", "regularized_evolution", "predictor"])
def test_a_limit_that_nothing_meets_is_refused_with_the_smallest_value(searcher, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("controller.sampling.MAX_DRAWS", 50)
    assert start("search", tmp_path, *SMALL, "--searcher", searcher, "--max_macs", "1000") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert int(float(re.search(r"macs at most 1000 \(smallest seen ([\d.e+]+)\)", error)[1])) > 1000
    assert not list(tmp_path.iterdir())
