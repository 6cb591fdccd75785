"""Segmentation and detection through the real scripts: searched, retrained, stopped, by two processes, used."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from models.export import ExportError, require_packages
from models.stored import trained_network
from tests.conftest import paint
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
    pictures,
    refusal,
    refused,
    result_of,
    same_run,
    start,
    together,
)

SIDES = {"segment": 16, "detect": 32}
SCENES = {"segment": 30, "detect": 20}  # of which one in five is for validation
SCORES = {"segment": "miou", "detect": "fit"}
MEASURES = {"segment": "miou", "detect": "ap50"}
segmenting = pytest.mark.parametrize("task", ["segment"], indirect=True)
detecting = pytest.mark.parametrize("task", ["detect"], indirect=True)


@pytest.fixture(scope="module", params=SIDES)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def flags(task, tmp_path_factory):
    """Of a run on composed scenes."""
    data = scenes(tmp_path_factory.mktemp("data"), number=SCENES[task], size=SIDES[task])
    words = f"--task {task} --image_size {SIDES[task]} --batch_size 8 --epochs 2 --workers 0 --no-tensorboard"
    return ["--data", str(data), *words.split()]


@pytest.fixture(scope="module")
def search(flags, tmp_path_factory):
    return finished("search", tmp_path_factory.mktemp("search"), *flags)


@pytest.fixture(scope="module")
def arch(search):
    return ["--arch", f"{search / 'genotypes.json'}#0"]


@pytest.fixture(scope="module")
def retrained(task, flags, arch, tmp_path_factory):
    if task == "detect" and find_spec("pycocotools") is None:
        pytest.skip("average precision needs pycocotools")
    export = ["--export", "pt2"] if task == "segment" else []
    with pytest.MonkeyPatch.context() as patch:
        paint(patch)  # the predictions
        return finished("retrain", tmp_path_factory.mktemp("retrain"), *flags, *arch, *export)


def test_a_search_is_scored_by_what_its_task_measures_and_tells_how_to_retrain(task, search):
    name, document = SCORES[task], json.loads((search / "genotypes.json").read_text())
    scores = [score for _, score in candidates(search)]
    assert document["score"] == name
    assert scores == [c[name] for c in document["candidates"]] == sorted(scores, reverse=True)
    assert all(0 <= line[f"valid/{name}"] <= 100 for line in metrics(search))
    if task == "detect":
        assert min(scores) > 0, "evolution needs that"
        assert all(line["valid/fit"] > 0 for line in metrics(search))
    assert f"--task {task}" in document["candidates"][0]["retrain"]
    assert document["candidates"][0]["aux_parameters"] == 0


def test_a_retraining_learns_and_leaves_measures_and_a_picture(task, retrained):
    lines, result = metrics(retrained), result_of(retrained)
    assert lines[1]["train/loss"] < lines[0]["train/loss"]
    assert result[f"last_{SCORES[task]}"] == pytest.approx(lines[1][f"valid/{SCORES[task]}"])
    classes = list(json.loads((retrained / "measures.json").read_text())["per_class"])
    assert Image.open(retrained / "predictions.png").size[0] > 100
    assert result["macs"] > 0
    if task == "segment":
        assert classes == ["background", "blue", "green", "red"]
        assert result["val_miou"] == pytest.approx(result["last_miou"], abs=1e-3)
        program = torch.export.load(retrained / "network.pt2").module()
        assert program(torch.zeros(3, 3, 16, 16)).shape == (3, 4, 16, 16)
    else:
        assert classes == ["blue", "green", "red"]
        assert 0 <= result["val_ap"] <= result["val_ap50"] <= 100


@segmenting
def test_the_same_validation_images_are_shown_now_and_then_and_it_changes_nothing(flags, arch, retrained, tmp_path):
    shown = [flag for flag in flags if flag != "--no-tensorboard"]
    folder = finished("retrain", tmp_path, *shown, *arch, "--report_freq", "1")
    same_run(retrained, folder, "retrain")
    assert [event.step for event in pictures(folder, "predictions")] == [0, 1, 2], "after each epoch and at the end"


@pytest.mark.parametrize(("kind", "checks"), [("search", [2, 5]), ("retrain", [2])])
def test_stops_change_nothing(kind, checks, flags, request, tmp_path):
    whole = request.getfixturevalue({"search": "search", "retrain": "retrained"}[kind])
    more = request.getfixturevalue("arch") if kind == "retrain" else []
    going_on = [*flags[:2], "--batch_size", "8", "--resume", "auto"]
    interrupted(lambda: start(kind, tmp_path, *flags, *more), lambda: start(kind, tmp_path, *going_on), *checks)
    same_run(whole, only_run(tmp_path, kind), kind)


@pytest.fixture(scope="module")
def pair(task, flags, arch, tmp_path_factory):
    """Where both scripts ran in two processes."""
    folder = tmp_path_factory.mktemp("pair")
    more = {"search": ["--searcher", "evolution"], "retrain": arch}
    kinds = [kind for kind in more if kind == "search" or task == "segment" or find_spec("pycocotools")]
    done = together(*(job(folder / kind, kind, *flags, *more[kind]) for kind in kinds))
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_hold_the_same_weights(task, pair):
    for kind in {path.name for path in pair.iterdir()}:
        for epoch in (1, 2):
            first, second = (torch.load(pair / kind / f"epoch{epoch}-rank{rank}.pt") for rank in (0, 1))
            assert all(torch.equal(first[key], second[key]) for key in first)
    found = only_run(pair / "search", "search")
    assert all(0 <= line[f"valid/{SCORES[task]}"] <= 100 for line in metrics(found))
    assert task == "segment" or min(score for _, score in candidates(found)) > 0


@pytest.mark.usefixtures("retrained")
def test_two_processes_measure_all_images(task, pair):
    folder = only_run(pair / "retrain", "retrain")
    if task == "segment":
        assert result_of(folder)["val_miou"] == pytest.approx(metrics(folder)[-1]["valid/miou"], abs=1e-3)
    found = json.loads((folder / "measures.json").read_text())
    assert found["images"] == SCENES[task] / 5
    assert 0 <= found[MEASURES[task]] <= 100


def test_a_checkpoint_is_evaluated_without_naming_its_task(task, retrained, capsys):
    name = MEASURES[task]
    assert evaluated(capsys, retrained, "--device", "cpu")[name] == pytest.approx(result_of(retrained)[f"val_{name}"])
    assert "--task is classify" in refused(capsys, "--evaluate", retrained, "--task", "classify")


@detecting
def test_boxes_are_predicted_in_the_pixels_of_the_picture(retrained, tmp_path, monkeypatch, capsys):
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


@segmenting
def test_masks_are_predicted_in_the_size_of_the_picture(retrained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    Image.new("RGB", (31, 20), (255, 0, 0)).save(tmp_path / "pictures" / "wide.png")
    Image.new("L", (5, 9)).save(tmp_path / "pictures" / "more" / "tall.jpg")
    (tmp_path / "pictures" / "no.png").write_text("none")
    assert SCRIPTS["retrain"].main(["--evaluate", str(retrained), "--predict", "pictures", "--device", "cpu"]) == 0
    wide = Image.open(tmp_path / "predictions" / "wide.png.png")
    assert (wide.mode, wide.size) == ("P", (31, 20))
    assert set(np.asarray(wide).flat) <= {0, 1, 2, 3}
    assert Image.open(tmp_path / "predictions" / "more" / "tall.jpg.png").size == (5, 9)
    printed = capsys.readouterr()
    assert "left out: 1 that are no pictures" in printed.out
    assert "no.png" in printed.err


@segmenting
def test_a_file_in_the_place_of_the_predictions_is_one_line(retrained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("one.png")
    (tmp_path / "predictions").write_text("mine")
    assert "predictions: File exists" in refused(capsys, "--evaluate", retrained, "--predict", "one.png")
    assert (tmp_path / "predictions").read_text() == "mine"


@segmenting
def test_a_checkpoint_becomes_a_file_that_gives_scores_for_every_pixel(retrained):
    try:
        require_packages("onnx")
    except ExportError as error:  # it says what is missing, or that torch is too old
        pytest.skip(str(error))
    onnxruntime = pytest.importorskip("onnxruntime")
    assert SCRIPTS["retrain"].main(["--evaluate", str(retrained), "--device", "cpu", "--export", "onnx"]) == 0
    session = onnxruntime.InferenceSession(retrained / "network.onnx")
    [scores] = session.run(None, {"images": np.zeros((3, 3, 16, 16), np.float32)})
    network = trained_network(torch.load(retrained / "checkpoint.pt"), retrained).eval()
    with torch.no_grad():
        expected = network(torch.zeros(3, 3, 16, 16))[0]
    assert np.allclose(scores, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("task", "kind", "more", "text"),
    [
        ("segment", "search", ["--image_size", "20"], "no multiple of 8"),
        ("segment", "search", ["--rank_by", "nwot"], "--rank_by nwot"),
        ("segment", "search", ["--score", "top1"], "--score top1"),
        ("segment", "search", ["--data", "nowhere"], "is no folder"),
        ("segment", "retrain", ["--mixup", "0.2"], "--mixup"),
        ("segment", "retrain", ["--resolution_jitter"], "--resolution_jitter"),
        ("segment", "retrain", ["--cutout", "4"], "--cutout"),
        ("detect", "search", ["--image_size", "36"], "no multiple of 8"),
        ("detect", "search", ["--score", "top1"], "--score top1"),
        ("detect", "search", ["--dataset", "masks"], "--dataset masks has no boxes"),
        ("detect", "retrain", ["--export", "pt2"], "--task detect cannot be exported"),
        ("detect", "retrain", ["--cutmix", "1"], "--cutmix"),
    ],
    indirect=["task"],
)
def test_what_does_not_go_together_is_refused_in_one_line(kind, more, text, flags, tmp_path, capsys):
    assert text in refusal(kind, capsys, *SIZED[kind], "--result", str(tmp_path), *flags, *more)
    assert not list(tmp_path.iterdir())
