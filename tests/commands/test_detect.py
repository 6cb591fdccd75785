"""Detection through the real scripts: searched, retrained, gone on with, by two processes, evaluated, used."""

import json
from importlib.util import find_spec

import pytest
import torch
from PIL import Image

from tests.cutouts import scenes
from tests.harness import FLAGS as SIZED
from tests.harness import (
    SCRIPTS,
    candidates,
    evaluated,
    finished,
    interrupted,
    job,
    metrics,
    only_run,
    refusal,
    refused,
    result_of,
    same_run,
    start,
    together,
)

pytestmark = pytest.mark.pictures

FLAGS = "--task detect --image_size 32 --batch_size 8 --epochs 2 --workers 0 --no-tensorboard".split()
measured = pytest.mark.skipif(find_spec("pycocotools") is None, reason="average precision needs pycocotools")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return ["--data", str(scenes(tmp_path_factory.mktemp("data"), number=20, size=32))]


@pytest.fixture(scope="module")
def search(data, tmp_path_factory):
    return finished("search", tmp_path_factory.mktemp("search"), *data, *FLAGS)


@pytest.fixture(scope="module")
def retrained(data, search, tmp_path_factory):
    arch = ["--arch", f"{search / 'genotypes.json'}#0"]
    return finished("retrain", tmp_path_factory.mktemp("retrain"), *data, *FLAGS, *arch)


def test_a_search_is_scored_by_a_positive_fit(search):
    assert all(line["valid/fit"] > 0 for line in metrics(search))
    scores = [score for _, score in candidates(search)]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0, "evolution and soft limits need that"


@measured
def test_a_retraining_learns_and_measures_average_precision(retrained):
    lines, result = metrics(retrained), result_of(retrained)
    assert lines[1]["train/loss"] < lines[0]["train/loss"]
    assert result["last_fit"] == lines[1]["valid/fit"]
    assert 0 <= result["val_ap"] <= result["val_ap50"] <= 100
    found = json.loads((retrained / "measures.json").read_text())
    assert list(found["per_class"]) == ["blue", "green", "red"]
    assert Image.open(retrained / "predictions.png").size[0] > 100


def test_stops_in_a_search_change_nothing(data, search, tmp_path):
    going_on = [*data, "--batch_size", "8", "--resume", "auto"]
    interrupted(lambda: start("search", tmp_path, *data, *FLAGS), lambda: start("search", tmp_path, *going_on), 2, 5)
    same_run(search, only_run(tmp_path, "search"), "search")


@measured
def test_a_stop_in_a_retraining_changes_nothing(data, search, retrained, tmp_path):
    words = [*data, *FLAGS, "--arch", f"{search / 'genotypes.json'}#0"]
    going_on = [*data, "--batch_size", "8", "--resume", "auto"]
    interrupted(lambda: start("retrain", tmp_path, *words), lambda: start("retrain", tmp_path, *going_on), 2)
    same_run(retrained, only_run(tmp_path, "retrain"), "retrain")


@pytest.fixture(scope="module")
def pair(data, search, tmp_path_factory):
    """Where both scripts ran in two processes."""
    folder = tmp_path_factory.mktemp("pair")
    more = {"search": ["--searcher", "evolution"], "retrain": ["--arch", f"{search / 'genotypes.json'}#0"]}
    kinds = [kind for kind in more if kind == "search" or find_spec("pycocotools")]
    done = together(*(job(folder / kind, kind, *data, *FLAGS, *more[kind]) for kind in kinds))
    assert done.returncode == 0, done.stderr
    return folder


def of_both(folder, epoch):
    return [torch.load(folder / f"epoch{epoch}-rank{rank}.pt") for rank in (0, 1)]


def test_what_two_processes_do(pair):
    for kind in {path.name for path in pair.iterdir()}:
        for first, second in (of_both(pair / kind, epoch) for epoch in (1, 2)):
            assert all(torch.equal(first[key], second[key]) for key in first)
    assert min(score for _, score in candidates(only_run(pair / "search", "search"))) > 0


@measured
def test_two_processes_measure_all_images(pair):
    found = json.loads((only_run(pair / "retrain", "retrain") / "measures.json").read_text())
    assert found["images"] == 4
    assert 0 <= found["ap50"] <= 100


@measured
def test_a_checkpoint_is_evaluated_and_finds_boxes_in_the_pixels_of_the_picture(
    retrained, tmp_path, monkeypatch, capsys
):
    assert evaluated(capsys, retrained, "--device", "cpu")["ap50"] == result_of(retrained)["val_ap50"]
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 40), (255, 0, 0)).save("wide.png")
    assert SCRIPTS["retrain"].main(["--evaluate", str(retrained), "--predict", "wide.png", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "predictions" / "boxes.json").read_text())["wide.png"]
    assert (found["width"], found["height"]) == (64, 40)
    for entry in found["boxes"]:
        x1, y1, x2, y2 = entry["box"]
        assert 0 <= x1 <= x2 <= 64
        assert 0 <= y1 <= y2 <= 40
        assert entry["class"] in ("blue", "green", "red")
    assert Image.open(tmp_path / "predictions" / "wide.png.png").size == (64, 40)
    assert "--export" in refused(capsys, "--evaluate", retrained, "--export", "onnx")


@pytest.mark.parametrize(
    ("kind", "flags", "text"),
    [
        ("search", ["--image_size", "36"], "no multiple of 8"),
        ("search", ["--score", "top1"], "--score top1"),
        ("search", ["--dataset", "masks"], "--dataset masks has no boxes"),
        ("retrain", ["--export", "pt2"], "--task detect cannot be exported"),
        ("retrain", ["--cutmix", "1"], "--cutmix"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(kind, flags, text, data, tmp_path, capsys):
    assert text in refusal(kind, capsys, *SIZED[kind], "--result", str(tmp_path), *data, *FLAGS, *flags)
    assert not list(tmp_path.iterdir())
