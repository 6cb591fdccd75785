"""The search script, run as a user runs it."""

import json
import math
import shlex

import pytest
import torch
from PIL import Image

from data.datasets import find_dataset, load
from data.loaders import make_loader
from data.splits import split_indices
from models.network import Network
from models.proxies import PROXIES, ProxyError
from models.supernet import SuperNet
from ops.genotype import Genotype, parse_genotype
from ops.space import SLNAS
from tests.harness import SCRIPTS, TINY_SEARCH, genotypes, image_folder, in_subprocess, metrics, refusal, run, scalars
from utils.system.checkpoint import load_weights
from utils.system.threads import usable_cpus

TAGS = {
    *(f"shared/{name}" for name in ("loss", "top1", "lr", "drop_path")),
    *(f"controller/{name}" for name in ("loss", "reward", "baseline", "entropy", "advantage")),
    *(f"valid/{name}" for name in ("loss", "top1")),
    *(f"operations/{name}" for name in SLNAS.operations),
    *(f"time/{name}" for name in ("epoch_s", "images_per_s")),
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search in a subprocess: its folder and its standard output."""
    result = tmp_path_factory.mktemp("search")
    output = in_subprocess(["train_search_cifar.py", *TINY_SEARCH, "--seed", "3", "--result", str(result)])
    [folder] = result.glob("search/*")
    return folder, output


def test_files_of_a_run(searched):
    folder, output = searched
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.txt", "metrics.jsonl", "checkpoint.pt", "genotypes.json"} <= names
    for picture in ("derived.png", "pareto.png", "loss.png", "top1.png"):
        assert Image.open(folder / picture).size[0] > 100, picture
    assert sum(name.startswith("events.out.tfevents.") for name in names) == 1
    assert not [name for name in names if name.startswith(".")], "no temporary file is left"
    config = json.loads((folder / "config.json").read_text())
    assert config["flags"]["seed"] == 3
    assert config["flags"]["blocks"] == [1]
    assert config["flags"]["batch_size"] == 128
    assert config["flags"]["controller_lr"] == 3.5e-5, "defaults are recorded too"
    assert config["machine"]["device"] == "cpu"
    assert config["machine"]["threads"] == 1  # of the tests
    assert config["machine"]["usable_cpus"] == usable_cpus()
    log = (folder / "log.txt").read_text()
    for line in output.splitlines():
        assert line in log
    assert [line["epoch"] for line in metrics(folder)] == [0, 1]


def test_tensorboard_holds_one_value_for_each_tag_and_step_the_same_as_metrics(searched):
    folder, _ = searched
    shown, written = scalars(folder), [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert set(shown) >= TAGS
    for tag, values in shown.items():
        assert [step for step, _ in values] == [0, 1], tag
        assert [value for _, value in values] == pytest.approx([line[tag] for line in written], rel=1e-6), tag


def test_schedules_and_shares_follow_their_formulas(searched):
    for line in metrics(searched[0]):
        epoch = line["epoch"]
        assert line["shared/lr"] == pytest.approx(0.0125 * (1 + math.cos(math.pi * epoch / 2)))
        assert line["shared/drop_path"] == pytest.approx(0.35 * epoch / 2)
        assert sum(line[f"operations/{name}"] for name in SLNAS.operations) == pytest.approx(1)


def test_candidates_are_ranked_and_their_costs_are_those_of_the_network_to_retrain(searched):
    folder, output = searched
    document = json.loads((folder / "genotypes.json").read_text())
    candidates = document["candidates"]
    assert 1 <= len(candidates) <= 3
    assert (document["score"], "valid/score" in metrics(folder)[0]) == ("top1", False), "accuracy, and no second one"
    assert "spread" in json.loads((folder / "result.json").read_text())
    assert [c["score"] for c in candidates] == sorted((c["score"] for c in candidates), reverse=True)
    assert [c["rank"] for c in candidates] == list(range(len(candidates)))
    assert candidates[0]["retrain"] in output
    for rank, candidate in enumerate(candidates):
        genotype = parse_genotype(f"{folder / 'genotypes.json'}#{rank}")
        assert genotype.to_lists() == candidate["cells"]
        network = Network(genotype, [1], 4, 10, stem="full")
        assert candidate["parameters"] + candidate["aux_parameters"] == network.num_parameters
        assert candidate["macs"] == network.macs(32)
        images = candidate["score"] / 100 * document["reward_images"]
        assert images == pytest.approx(round(images), abs=1e-6), "a score is a share of all reward images"


def test_checkpoint_holds_plain_values_that_rebuild_the_supernet(searched):
    state = torch.load(searched[0] / "checkpoint.pt", weights_only=True)
    supernet = SuperNet(**state["network"])
    load_weights(supernet, state["model"], "checkpoint")
    assert state["position"]["epoch"] == 2
    assert state["classes"] == list("0123456789")
    assert state["image_size"] == 32
    assert set(state["statistics"]) == {"mean", "std"}


def test_scores_are_those_of_the_shared_weights_on_all_reward_images(searched):
    state = torch.load(searched[0] / "checkpoint.pt", weights_only=True)
    supernet, document = SuperNet(**state["network"]).eval(), genotypes(searched[0])
    load_weights(supernet, state["model"], "checkpoint")
    data = load(find_dataset("digits"), train_images=640)
    _, reward = split_indices(data.train.labels, 0.2, seed=3)
    options = {"batch_size": 128, "device": torch.device("cpu"), "seed": 3, "stream": "rewards"}
    batches = list(make_loader(data.train.subset(reward), data.preset, augment=False, shuffle=True, **options))
    for candidate in document["candidates"]:
        genotype = Genotype.from_lists(candidate["cells"])
        with torch.no_grad():
            right = sum((supernet(b.images, genotype)[0].argmax(1) == b.labels).sum().item() for b in batches)
        assert candidate["score"] == pytest.approx(100 * right / len(reward))


def test_same_seed_same_run_and_another_seed_another(searched, tmp_path):
    folder, _ = searched
    again = run("search", tmp_path, "--seed", "3", "--workers", "0")
    assert metrics(again) == metrics(folder)
    assert genotypes(again) == genotypes(folder)
    other = run("search", tmp_path, "--seed", "4", "--epochs", "1")
    assert metrics(other)[0]["shared/loss"] != metrics(folder)[0]["shared/loss"]
    assert genotypes(other)["candidates"] != genotypes(folder)["candidates"]


def test_candidates_can_be_ranked_without_the_shared_weights(searched, tmp_path, capsys):
    """The same epochs and candidates as with shared weights, in the order of another score."""
    folder = run("search", tmp_path, "--seed", "3", "--rank_by", "macs", "--no-tensorboard")
    document, shared = genotypes(folder), genotypes(searched[0])
    assert (document["ranked_by"], shared["ranked_by"]) == ("macs", "shared")
    assert metrics(folder) == metrics(searched[0])
    assert sorted(c["cells"] for c in document["candidates"]) == sorted(c["cells"] for c in shared["candidates"])
    assert [c["score"] for c in document["candidates"]] == sorted(c["macs"] for c in shared["candidates"])[::-1]
    output = capsys.readouterr().out
    assert "best of 3: macs " in output
    assert "chance" not in output
    assert json.loads((folder / "result.json").read_text())["ranked_by"] == "macs"


def refusing(after: int):
    """A ranker that scores ``after`` networks and then has no score."""
    numbers = iter(range(after))

    def broken(*_):
        number = next(numbers, None)
        if number is None:
            raise ProxyError("the ranker nwot gives nan for a network: rank by another one")
        return float(number)

    return broken


def test_a_ranker_that_cannot_rank_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PROXIES, "nwot", refusing(0))
    assert "ranker nwot" in refusal("search", capsys, *TINY_SEARCH, "--result", str(tmp_path), "--rank_by", "nwot")
    assert not list(tmp_path.iterdir())


def test_a_ranker_that_fails_later_is_exchanged_and_no_epoch_is_lost(tmp_path, capsys, monkeypatch):
    flags = ["--epochs", "1", "--controller_steps", "0", "--valid_steps", "0", "--no-tensorboard"]
    monkeypatch.setitem(PROXIES, "nwot", refusing(1))  # one before the first epoch, and none at the end
    words = [*TINY_SEARCH, *flags, "--result", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        SCRIPTS["search"].main([*words, "--rank_by", "nwot"])
    assert end.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "genotypes by nwot" in line
    [folder] = tmp_path.glob("search/*")
    assert SCRIPTS["search"].main([*words, "--resume", str(folder), "--rank_by", "jacob_cov"]) == 0
    assert len(metrics(folder)) == 1
    document = genotypes(folder)
    assert document["ranked_by"] == "jacob_cov"
    assert document["reward_images"] <= 128, "one batch"


@pytest.mark.parametrize(("sharing", "bn_stats", "cells"), [("stage", "recalibrate", 1), ("block", "running", 2)])
def test_other_sharing_and_batch_norm_statistics(sharing, bn_stats, cells, tmp_path):
    flags = ["--sharing", sharing, "--bn_stats", bn_stats, "--epochs", "1", "--no-tensorboard"]
    folder = run("search", tmp_path, *flags, "--controller_samples", "2", "--antialias", "all")
    assert not list(folder.glob("events*"))
    document = genotypes(folder)
    assert (document["sharing"], document["bn_stats"], document["antialias"]) == (sharing, bn_stats, "all")
    assert all(len(candidate["cells"]) == cells for candidate in document["candidates"])


def test_more_outputs_than_classes_warns_once_and_fewer_are_refused(tmp_path, capsys):
    flags = ["--epochs", "1", "--controller_steps", "0", "--valid_steps", "0", "--derive_samples", "1"]
    folder = run("search", tmp_path, *flags, "--num_class", "30")
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning: --num_class" in line]
    assert len(warnings) == 1
    assert "30" in warnings[0]
    assert "10" in warnings[0]
    assert genotypes(folder)["num_classes"] == 30
    message = refusal("search", capsys, "--data", "digits", "--num_class", "9", "--result", str(tmp_path / "none"))
    assert "9" in message
    assert "10" in message
    assert not (tmp_path / "none").exists()


def test_validation_labels_change_nothing_in_what_a_search_finds(tmp_path):
    found = []
    for swapped in (False, True):
        image_folder(tmp_path / f"{swapped}" / "toy", swapped)
        data = ["--data", str(tmp_path / f"{swapped}" / "toy"), "--batch_size", "8", "--train_images", "24"]
        found.append(run("search", tmp_path / f"result{swapped}", *data, "--controller_steps", "3", "--no-tensorboard"))
    assert genotypes(found[0]) == genotypes(found[1])
    learned = [[{k: v for k, v in line.items() if "valid" not in k} for line in metrics(f)] for f in found]
    assert learned[0] == learned[1]
    assert metrics(found[0]) != metrics(found[1]), "the labels do differ"


SMALLER = {"retrain": ["--epochs", "1", "--image_size", "16", "--batch_size", "300", "--train_images", "300"]}
SMALLER["search"] = [*SMALLER["retrain"], "--controller_steps", "1", "--valid_steps", "1", "--derive_samples", "1"]


@pytest.mark.parametrize("kind", list(SCRIPTS))
def test_help_groups_the_flags_and_shows_a_command_that_runs(kind, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        SCRIPTS[kind].main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "default: " in text
    for group in ("data:", "network:", "optimisation:", "run:"):
        assert f"\n{group}\n" in text
    python, script, *words = shlex.split(text.partition("\nexample:\n")[2].splitlines()[0])
    assert (python, script) == ("python", f"{SCRIPTS[kind].__name__}.py")
    assert SCRIPTS[kind].main([*words, "--result", str(tmp_path), *SMALLER[kind]]) == 0
    assert len(list(tmp_path.glob(f"{kind}/first-*/result.json"))) == 1
