"""Segmentation through the real scripts: searched, retrained, gone on with, by two processes, evaluated, used."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from models.stored import trained_network
from tests.cutouts import scenes
from tests.harness import FLAGS as SIZED
from tests.harness import (
    SCRIPTS,
    evaluated,
    finished,
    interrupted,
    job,
    metrics,
    only_run,
    pictures,
    refusal,
    refused,
    result_of,
    same_run,
    start,
    together,
)

pytestmark = pytest.mark.pictures

FLAGS = "--task segment --image_size 16 --batch_size 8 --epochs 2 --workers 0 --no-tensorboard".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return ["--data", str(scenes(tmp_path_factory.mktemp("data"), number=30, size=16))]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Runs without interruption, by kind; the retraining is of what the search found."""
    result = tmp_path_factory.mktemp("whole")
    search = finished("search", result, *data, *FLAGS)
    arch = ["--arch", f"{search / 'genotypes.json'}#0"]
    return {"search": search, "retrain": finished("retrain", result, *data, *FLAGS, *arch, "--export", "pt2")}


def test_a_search_is_scored_by_mean_iou_and_tells_how_to_retrain(whole):
    lines = metrics(whole["search"])
    assert all(0 <= line["valid/miou"] <= 100 for line in lines)
    document = json.loads((whole["search"] / "genotypes.json").read_text())
    assert document["score"] == "miou"
    assert all(c["miou"] == c["score"] for c in document["candidates"])
    assert "--task segment" in document["candidates"][0]["retrain"]
    assert document["candidates"][0]["aux_parameters"] == 0


def test_a_retraining_learns_and_leaves_measures_a_picture_and_a_file(whole):
    folder = whole["retrain"]
    lines, result = metrics(folder), result_of(folder)
    assert lines[1]["train/loss"] < lines[0]["train/loss"]
    assert result["last_miou"] == pytest.approx(lines[1]["valid/miou"])
    assert result["val_miou"] == pytest.approx(result["last_miou"], abs=1e-3)
    measured = json.loads((folder / "measures.json").read_text())
    assert list(measured["per_class"]) == ["background", "blue", "green", "red"]
    assert Image.open(folder / "predictions.png").size[0] > 100
    assert result["macs"] > 0
    program = torch.export.load(folder / "network.pt2").module()
    assert program(torch.zeros(3, 3, 16, 16)).shape == (3, 4, 16, 16)


def test_the_same_validation_images_are_shown_now_and_then_and_it_changes_nothing(data, whole, tmp_path):
    arch = ["--arch", f"{whole['search'] / 'genotypes.json'}#0"]
    flags = [flag for flag in FLAGS if flag != "--no-tensorboard"]
    folder = finished("retrain", tmp_path, *data, *flags, *arch, "--report_freq", "1")
    same_run(whole["retrain"], folder, "retrain")
    assert [event.step for event in pictures(folder, "predictions")] == [0, 1, 2], "after each epoch and at the end"


@pytest.mark.parametrize(("kind", "checks"), [("search", [2, 5]), ("retrain", [2])])
def test_stops_change_nothing(kind, checks, data, whole, tmp_path):
    arch = ["--arch", f"{whole['search'] / 'genotypes.json'}#0"] if kind == "retrain" else []
    going_on = [*data, "--batch_size", "8", "--resume", "auto"]
    interrupted(lambda: start(kind, tmp_path, *data, *FLAGS, *arch), lambda: start(kind, tmp_path, *going_on), *checks)
    same_run(whole[kind], only_run(tmp_path, kind), kind)


@pytest.fixture(scope="module")
def pair(data, whole, tmp_path_factory):
    """Where both scripts ran in two processes."""
    folder = tmp_path_factory.mktemp("pair")
    more = {"search": [], "retrain": ["--arch", f"{whole['search'] / 'genotypes.json'}#0"]}
    done = together(*(job(folder / kind, kind, *data, *FLAGS, *arch) for kind, arch in more.items()))
    assert done.returncode == 0, done.stderr
    return folder


def test_what_two_processes_do(pair):
    epochs = [[torch.load(pair / "search" / f"epoch{e}-rank{rank}.pt") for rank in (0, 1)] for e in (1, 2)]
    for first, second in epochs:
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(0 <= line["valid/miou"] <= 100 for line in metrics(only_run(pair / "search", "search")))


def test_two_processes_validate_as_one(pair):
    folder = only_run(pair / "retrain", "retrain")
    assert result_of(folder)["val_miou"] == pytest.approx(metrics(folder)[-1]["valid/miou"], abs=1e-3)


def test_a_checkpoint_is_evaluated_without_naming_its_task(data, whole, capsys):
    found = evaluated(capsys, whole["retrain"] / "checkpoint.pt", "--device", "cpu")
    assert found["miou"] == pytest.approx(result_of(whole["retrain"])["val_miou"])
    assert "--task is classify" in refused(capsys, "--evaluate", whole["retrain"], "--task", "classify")


def test_masks_are_predicted_in_the_size_of_the_picture(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    Image.new("RGB", (31, 20), (255, 0, 0)).save(tmp_path / "pictures" / "wide.png")
    Image.new("L", (5, 9)).save(tmp_path / "pictures" / "more" / "tall.jpg")
    (tmp_path / "pictures" / "no.png").write_text("none")
    words = ["--evaluate", str(whole["retrain"]), "--predict", "pictures", "--device", "cpu"]
    assert SCRIPTS["retrain"].main(words) == 0
    wide = Image.open(tmp_path / "predictions" / "wide.png.png")
    assert (wide.mode, wide.size) == ("P", (31, 20))
    assert set(np.asarray(wide).flat) <= {0, 1, 2, 3}
    assert Image.open(tmp_path / "predictions" / "more" / "tall.jpg.png").size == (5, 9)
    printed = capsys.readouterr()
    assert "left out: 1 that cannot be decoded" in printed.out
    assert "no.png" in printed.err


def test_a_file_in_the_place_of_the_predictions_is_one_line(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("one.png")
    (tmp_path / "predictions").write_text("mine")
    assert "predictions: File exists" in refused(capsys, "--evaluate", whole["retrain"], "--predict", "one.png")
    assert (tmp_path / "predictions").read_text() == "mine"


def test_a_checkpoint_becomes_a_file_that_gives_scores_for_every_pixel(whole):
    onnxruntime = pytest.importorskip("onnxruntime")
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    words = ["--evaluate", str(whole["retrain"]), "--device", "cpu", "--export", "onnx"]
    assert SCRIPTS["retrain"].main(words) == 0
    session = onnxruntime.InferenceSession(whole["retrain"] / "network.onnx")
    [scores] = session.run(None, {"images": np.zeros((3, 3, 16, 16), np.float32)})
    network = trained_network(torch.load(whole["retrain"] / "checkpoint.pt"), whole["retrain"]).eval()
    with torch.no_grad():
        expected = network(torch.zeros(3, 3, 16, 16))[0]
    assert np.allclose(scores, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "flags", "text"),
    [
        ("search", ["--image_size", "20"], "no multiple of 8"),
        ("search", ["--rank_by", "nwot"], "--rank_by nwot"),
        ("search", ["--score", "top1"], "--score top1"),
        ("search", ["--data", "nowhere"], "is no folder"),
        ("retrain", ["--mixup", "0.2"], "--mixup"),
        ("retrain", ["--resolution_jitter"], "--resolution_jitter"),
        ("retrain", ["--cutout", "4"], "--cutout"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(kind, flags, text, data, tmp_path, capsys):
    words = [*SIZED[kind], "--result", str(tmp_path), *data, *FLAGS, *flags]
    assert text in refusal(kind, capsys, *words)
    assert not list(tmp_path.iterdir())
