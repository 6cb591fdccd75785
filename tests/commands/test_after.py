"""Before and after a retraining: holdout, warm start, evaluation, prediction and export; see runs.py."""

import csv
import json

import pytest
import torch
from PIL import Image

import retrainer_cifar
from data.datasets import find_dataset, load
from models.network import Network
from models.stored import inherit_weights
from models.supernet import SuperNet
from ops.genotype import parse_genotype
from tests.harness import (
    SMALL,
    evaluated,
    finished,
    image_folder,
    metrics,
    only_run,
    refused,
    result_of,
    start,
    weights,
)
from utils.runs.resume import checkpoint_in
from utils.system.checkpoint import load_weights


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A retraining with an average of weights on the digits."""
    result = tmp_path_factory.mktemp("digits")
    return finished("retrain", result, *SMALL, "--epochs", "2", "--train_images", "480", "--ema", "0.9")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Two runs with a holdout, on data that differ in the labels of val/ alone: data and run folders."""
    base, found = tmp_path_factory.mktemp("holdout"), []
    for swapped in (False, True):
        data = base / str(swapped) / "toy"
        image_folder(data, swapped)
        flags = ["--data", str(data), "--batch_size", "8", "--holdout", "0.25", "--epochs", "4", "--no-tensorboard"]
        assert start("retrain", base / f"result{swapped}", *flags) == 0
        found.append((data, only_run(base / f"result{swapped}", "retrain")))
    return found


def test_labels_of_the_test_part_choose_nothing(held_out):
    (_, one), (_, other) = held_out
    assert metrics(one) == metrics(other)
    for name in ("checkpoint.pt", "best.pt"):
        left, right = weights(one, name), weights(other, name)
        assert all(torch.equal(left[key], right[key]) for key in left)
    results = result_of(one), result_of(other)
    differing = {key for key in results[0] if results[0][key] != results[1][key]}
    assert differing <= {"val_top1", "val_loss", "val_calibration_error", "val_shift_consistency"}
    assert "val_loss" in differing


def test_a_result_with_a_holdout_says_what_was_chosen_and_measured(held_out, capsys):
    data, folder = held_out[0]
    result, lines = result_of(folder), metrics(folder)
    assert (result["chosen_on"], result["measured"]) == ("holdout", "best on the holdout")
    assert result["best_top1"] == max(line["valid/top1"] for line in lines)
    assert lines[result["best_epoch"]]["valid/top1"] == result["best_top1"]
    assert result["last_top1"] == lines[-1]["valid/top1"]
    assert result["val_top5"] is None, "three classes"
    assert round(result["best_top1"] * 6 / 100, 6).is_integer(), "two images of each of three classes"
    found = evaluated(capsys, folder / "best.pt", "--data", data)
    assert found["images"] == 12
    assert found["top1"] == pytest.approx(result["val_top1"])
    assert found["loss"] == pytest.approx(result["val_loss"], rel=1e-5)
    measured = json.loads((folder / "measures.json").read_text())
    assert [sum(row) for row in measured["confusion"]] == [4, 4, 4]
    assert list(measured["per_class"]) == ["class0", "class1", "class2"]


def test_evaluation_from_the_checkpoint_alone_gives_what_the_run_reported(digits, capsys):
    result = result_of(digits)
    assert (result["chosen_on"], result["measured"]) == ("val", "last")
    found = evaluated(capsys, digits / "checkpoint.pt")
    for key in ("top1", "top5", "loss", "calibration_error", "shift_consistency"):
        assert found[key] == pytest.approx(result[f"val_{key}"], rel=1e-5, abs=0.3 if "shift" in key else 1e-6), key
    assert found["images"] == 359
    assert result["val_top1"] == pytest.approx(result["last_top1"])
    assert result["val_loss"] == pytest.approx(metrics(digits)[-1]["valid/loss"], rel=1e-5)


def test_data_of_other_classes_is_refused_by_name(digits, held_out, tmp_path, capsys):
    data, folder = held_out[0]
    error = refused(capsys, "--evaluate", digits / "checkpoint.pt", "--data", data)
    assert "10 there, 3 here" in error
    image_folder(tmp_path / "renamed", False)
    for side in ("train", "val"):
        (tmp_path / "renamed" / side / "class1").rename(tmp_path / "renamed" / side / "class1x")
    error = refused(capsys, "--evaluate", folder / "best.pt", "--data", tmp_path / "renamed")
    assert "class 1 is 'class1' there, 'class1x' here" in error
    error = refused(capsys, "--evaluate", tmp_path / "none.pt")
    assert "none.pt" in error
    assert "--evaluate" in refused(capsys, "--predict", data)


def test_predictions_are_printed_and_written(held_out, tmp_path, monkeypatch, capsys):
    data, folder = held_out[0]
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    for i, source in enumerate(sorted((data / "val").glob("*/*.png"))[::3]):
        Image.open(source).save(images / f"{i}.png")
    (images / "broken.png").write_bytes(b"\x89PNG nothing")
    capsys.readouterr()
    assert retrainer_cifar.main(["--evaluate", str(folder / "best.pt"), "--predict", str(images)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "broken.png" in captured.err
    *lines, last = captured.out.splitlines()
    assert "predictions.csv" in last
    assert [line.split(":")[0] for line in lines] == [f"{i}.png" for i in range(4)]
    with open("predictions.csv", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["image", "class", "class0", "class1", "class2"]
    for row, line in zip(rows, lines, strict=True):
        values = [float(cell) for cell in row[2:]]
        assert sum(values) == pytest.approx(1, abs=1e-5)
        assert row[1] == head[2 + values.index(max(values))]
        assert line.startswith(f"{row[0]}: {row[1]} {max(values):.4f}")
    assert retrainer_cifar.main(["--evaluate", str(folder / "best.pt"), "--predict", str(images / "1.png")]) == 0
    assert capsys.readouterr().out.splitlines()[0].split(" ")[:2] == lines[1].split(" ")[:2]
    for path, lines in ((images / "none.png", 1), (images / "broken.png", 2)):
        error = refused(capsys, "--evaluate", folder / "best.pt", "--predict", path, lines=lines).splitlines()
        assert path.name in error[-1]


IDLE = ["--train_images", "480", "--controller_steps", "0", "--valid_steps", "0"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    result = tmp_path_factory.mktemp("search")
    return finished("search", result, *SMALL, "--epochs", "1", *IDLE)


def test_a_warm_start_has_the_weights_of_the_supernet(searched, tmp_path):
    state = torch.load(searched / "checkpoint.pt", weights_only=True)
    supernet = SuperNet(**state["network"])
    load_weights(supernet, state["model"], "checkpoint")
    genotype = parse_genotype(f"{searched / 'genotypes.json'}#1")
    expected = supernet.inherit(genotype).state_dict()
    network, path = Network(genotype, [1], 4, 10, stem="quarter"), searched / "checkpoint.pt"
    inherit_weights(network, state, searched, path)
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    assert {checkpoint_in(searched), checkpoint_in(path)} == {path}, "a run is named by its folder or its file"
    still = [
        "--child_lr_max",
        "1e-12",
        "--weight_decay",
        "0",
        "--epochs",
        "1",
        "--train_images",
        "160",
        "--inherit",
        str(searched),
    ]
    assert start("retrain", tmp_path, *SMALL, *still, "--arch", f"{searched / 'genotypes.json'}#1") == 0
    trained = weights(only_run(tmp_path, "retrain"))
    for key, value in expected.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(trained[key], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--child_out_filters", "6"], "filters 4 there but 6 here"),
        (["--stem", "full"], "stem quarter there but full here"),
        (["--antialias", "none"], "antialias conv there but none here"),
        (["--num_class", "12"], "num_classes 10 there but 12 here"),
    ],
)
def test_a_warm_start_from_another_network_is_refused_and_both_are_named(flags, named, searched, tmp_path, capsys):
    arch = ["--arch", str(searched / "genotypes.json"), "--inherit", str(searched)]
    assert start("retrain", tmp_path, *SMALL, *arch, *flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert not list(tmp_path.iterdir())


def test_a_warm_start_needs_a_search(digits, tmp_path, capsys):
    for path in (digits, tmp_path):
        assert start("retrain", tmp_path / "result", *SMALL, "--inherit", str(path)) == 2
        assert str(path) in capsys.readouterr().err


def test_an_export_after_evaluation_is_the_evaluated_network(digits, capsys):
    capsys.readouterr()
    assert retrainer_cifar.main(["--evaluate", str(digits / "checkpoint.pt"), "--export", "pt2"]) == 0
    output = capsys.readouterr().out
    path = digits / "network.pt2"
    assert f"exported {path}" in output
    result = result_of(digits)
    assert f"{result['parameters']} parameters, {result['macs']} MACs" in output
    state, val = (
        torch.load(digits / "checkpoint.pt", weights_only=True),
        load(find_dataset("digits", image_size=16)).val,
    )
    mean, std = (torch.tensor(state["statistics"][key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = torch.export.load(path).module()((val.pixels / 255 - mean) / std)
    assert 100 * (logits.argmax(1) == val.labels).double().mean().item() == pytest.approx(result["val_top1"], abs=0.3)
