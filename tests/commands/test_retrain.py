"""The retraining script, run as a user runs it, on what the search script wrote; see commands.py."""

import io
import json
import math
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from torch.nn import functional as F

from data.datasets import find_dataset, load
from models.network import Network
from ops.genotype import parse_genotype
from tests.harness import (
    SCRIPTS,
    metrics,
    printed_command,
    refusal,
    run,
    scalars,
)
from utils.system.checkpoint import load_weights

STAGES = "[1,1]"  # two stages have one auxiliary head


@pytest.fixture(scope="module")
def genotype_file(tmp_path_factory):
    """A search that learns nothing, and the command that it printed."""
    result = tmp_path_factory.mktemp("search")
    flags = ["--controller_steps", "0", "--valid_steps", "0", "--epochs", "1", "--no-tensorboard"]
    folder = run("search", result, *flags, "--blocks", STAGES, "--sharing", "stage")
    log = (folder / "log.txt").read_text()
    return folder / "genotypes.json", log[log.index("retrain it with:") :]


@pytest.fixture(scope="module")
def retrained(genotype_file, tmp_path_factory):
    """The printed command, shortened by further flags: its folder and its standard output."""
    result, output, error = tmp_path_factory.mktemp("retrain"), io.StringIO(), io.StringIO()
    python, script, *words = printed_command(genotype_file[1])
    assert (python, script) == ("python", "retrainer_cifar.py")
    tiny = ["--epochs", "4", "--batch_size", "128", "--stem", "quarter", "--result", str(result), "--device", "cpu"]
    with redirect_stdout(output), redirect_stderr(error):
        assert SCRIPTS["retrain"].main([*words, *tiny, "--train_images", "640"]) == 0
    assert not error.getvalue()
    [folder] = result.glob("retrain/*")
    return folder, output.getvalue()


def test_printed_command_trains_the_best_candidate(genotype_file, retrained):
    folder, output = retrained
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.txt", "metrics.jsonl", "checkpoint.pt", "best.pt", "report.json"} <= names
    assert sum(name.startswith("events.out.tfevents.") for name in names) == 1
    best = json.loads(genotype_file[0].read_text())["candidates"][0]
    report = json.loads((folder / "report.json").read_text())
    assert report["genotype"] == best["cells"]
    assert report["aux_parameters"] == best["aux_parameters"] > 0
    derived = json.loads((folder / "config.json").read_text())["derived"]
    assert (derived["sharing"], derived["blocks"]) == ("stage", [1, 1])
    lines = metrics(folder)
    assert report["last_top1"] == lines[-1]["valid/top1"]
    assert report["best_top1"] == max(line["valid/top1"] for line in lines)
    assert lines[report["best_epoch"]]["valid/top1"] == report["best_top1"]
    assert "picked on val" in output
    assert f"last {report['last_top1']:.2f} %" in output
    assert f"best {report['best_top1']:.2f} %" in output


def test_parameters_and_macs_promised_by_the_search_are_those_of_the_default_retraining(genotype_file, tmp_path):
    flags = ["--stem", "full", "--blocks", STAGES, "--epochs", "1", "--no-tensorboard", "--train_images", "120"]
    folder = run("retrain", tmp_path, *flags, "--sharing", "stage", "--arch", f"{genotype_file[0]}#1")
    report = json.loads((folder / "report.json").read_text())
    second = json.loads(genotype_file[0].read_text())["candidates"][1]
    assert report["genotype"] == second["cells"]
    for fact in ("parameters", "aux_parameters", "macs"):
        assert report[fact] == second[fact]


def test_tensorboard_holds_one_value_for_each_tag_and_step(retrained):
    shown, lines = scalars(retrained[0]), metrics(retrained[0])
    expected = {f"{side}/{name}" for side in ("train", "valid") for name in ("loss", "top1", "aux0_top1")}
    assert set(shown) >= expected | {"train/lr", "train/drop_path", "time/epoch_s", "time/images_per_s"}
    for tag, values in shown.items():
        assert [step for step, _ in values] == list(range(4)), tag
        if not tag.startswith(("time/", "memory/")):
            assert [value for _, value in values] == pytest.approx([line[tag] for line in lines], rel=1e-6), tag


def test_schedules_follow_their_formulas(retrained):
    for line in metrics(retrained[0]):
        assert line["train/lr"] == pytest.approx(0.0125 * (1 + math.cos(math.pi * line["epoch"] / 4)))
        assert line["train/drop_path"] == pytest.approx(0.35 * min(line["epoch"], 0.7 * 4) / 4)


@pytest.mark.parametrize("name", ["checkpoint.pt", "best.pt"])
def test_a_checkpoint_rebuilds_the_network_that_was_reported(retrained, name):
    folder, _ = retrained
    report = json.loads((folder / "report.json").read_text())
    state = torch.load(folder / name, weights_only=True)
    network = Network.from_arguments(state["network"])
    load_weights(network, state["model"], name)
    epoch = state["position"]["epoch"] - 1
    assert epoch == (3 if name == "checkpoint.pt" else report["best_epoch"])
    val = load(find_dataset("digits")).val
    mean, std = (torch.tensor(state["statistics"][key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits, _ = network.eval()((val.pixels / 255 - mean) / std)
    line = metrics(folder)[epoch]
    assert 100 * (logits.argmax(1) == val.labels).double().mean().item() == pytest.approx(line["valid/top1"])
    assert F.cross_entropy(logits, val.labels).item() == pytest.approx(line["valid/loss"], rel=1e-4)
    assert state["classes"] == list("0123456789")


def test_restarts_and_smallest_rate_reach_the_optimizer(tmp_path):
    flags = ["--lr_schedule", "cosine_restarts", "--child_lr_T_0", "1", "--child_lr_T_mul", "2", "--epochs", "3"]
    flags += ["--train_images", "256", "--image_size", "16", "--no-tensorboard"]
    folder = run("retrain", tmp_path, *flags, "--child_lr_max", "0.5", "--child_lr_min", "0.25", "--droppath", "0")
    lines = metrics(folder)
    assert [line["train/lr"] for line in lines] == pytest.approx([0.5, 0.5, 0.375])
    assert [line["train/drop_path"] for line in lines] == [0, 0, 0]
    used = torch.load(folder / "checkpoint.pt", weights_only=True)["optimizer"]["param_groups"]
    assert [group["lr"] for group in used] == pytest.approx([0.375] * 2)
    assert [group["weight_decay"] for group in used] == [3e-4, 0]


def test_file_and_flags_that_contradict_are_refused(genotype_file, tmp_path, capsys):
    flags = ["--data", "digits", "--arch", str(genotype_file[0]), "--result", str(tmp_path / "none")]
    assert "2 encodings" in refusal("retrain", capsys, *flags, "--blocks", "[1,1,1]")
    assert "4" in refusal("retrain", capsys, *flags, "--sharing", "block")
    count = len(json.loads(genotype_file[0].read_text())["candidates"])
    assert f"rank {count}" in refusal("retrain", capsys, *flags[:3], f"{genotype_file[0]}#{count}", *flags[4:])
    assert not (tmp_path / "none").exists()
    assert parse_genotype(genotype_file[0], sharing="type").sharing == "type", "two encodings fit both"
