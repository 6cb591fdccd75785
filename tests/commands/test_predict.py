"""Prediction of whole folders, and exports beside prediction and resuming, with the real command."""

import csv
import os

import pytest
import torch
from PIL import Image

import retrainer_cifar
from data import predicting
from data.predicting import Pictures
from data.presets import IMAGENET, large, small
from tests.harness import finished, start

FLAGS = ["--image_size", "16", "--no-tensorboard", "--blocks", "[0]", "--train_images", "320"]
SMALL = small(16, IMAGENET)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished("retrain", tmp_path_factory.mktemp("run"), *FLAGS, "--epochs", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five pictures under all sorts of names, and four things that are none."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "pictures"
    names = ["a.png", "b.gif", "plain", "deep/er/c.JPEG", "deep/0.tif"]
    for grey, name in enumerate([*names, ".hidden.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"gif": "GIF", "JPEG": "JPEG"}.get(name.rpartition(".")[2], "PNG")
        Image.new("L", (20, 20), 40 * grey).save(root / name, kind)
    (root / "notes.txt").write_text("no picture")
    os.mkfifo(root / "pipe.png")
    (root / "deep" / "round").symlink_to(root)
    return root, sorted(names, key=os.path.split)


def predict(run, path, *flags) -> int:
    return retrainer_cifar.main(["--evaluate", str(run / "checkpoint.pt"), "--predict", str(path), *flags])


def test_every_picture_of_a_folder_is_predicted_and_what_is_left_out_is_counted(run, folder, capsys):
    root, names = folder
    assert predict(run, root) == 0
    captured = capsys.readouterr()
    *lines, last = captured.out.splitlines()
    assert [line.split(":")[0] for line in lines] == names
    assert last == (
        "written to predictions.csv; left out: "
        "1 that cannot be decoded, 1 hidden or of the system, 2 that are no files (pipes, broken or circular links)"
    )
    [skipped] = captured.err.splitlines()
    assert skipped.startswith(f"skipped: {root / 'notes.txt'} cannot be decoded: ")
    with open("predictions.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["image", *names]


def test_prediction_and_export_are_done_in_one_go(run, folder, capsys):
    assert predict(run, folder[0], "--export", "pt2") == 0
    *_, written, exported = capsys.readouterr().out.splitlines()
    assert written.startswith("written to predictions.csv")
    assert exported.startswith(f"exported {run / 'network.pt2'}: ")
    assert torch.export.load(run / "network.pt2").module()(torch.zeros(1, 3, 16, 16)).shape == (1, 10)


def test_names_that_are_not_utf8_are_printed_escaped_and_written_as_they_are(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkdir("pictures")
    Image.new("L", (20, 20)).save("x.png")
    os.rename("x.png", b"pictures/b\xe4d.png")
    assert predict(run, "pictures") == 0
    assert capsys.readouterr().out.startswith(r"'b\udce4d.png': ")
    assert b"\nb\xe4d.png," in (tmp_path / "predictions.csv").read_bytes()


def test_predictions_of_nothing_leave_those_of_before(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions.csv").write_text("before")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "x.png").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as end:
        predict(run, "pictures")
    assert end.value.code == 2
    assert "no image was found; left out: 1 that cannot be decoded" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "predictions.csv"]
    assert (tmp_path / "predictions.csv").read_text() == "before"


@pytest.mark.parametrize("preset", [SMALL, large(65)], ids=["small", "large"])
def test_a_folder_is_decoded_as_it_is_needed_and_not_kept(preset, tmp_path, monkeypatch):
    for i in range(300):
        Image.new("L", (8, 8), i % 256).save(tmp_path / f"{i:03d}.bmp")
    decoded, real = [], predicting.decode
    monkeypatch.setattr(predicting, "decode", lambda path, size: decoded.append(path) or real(path, size))
    taken = 0
    for names, images in Pictures(tmp_path, bad=None).batches(preset, 16, torch.device("cpu")):
        taken += len(names)
        assert images.shape == (len(names), 3, preset.image_size, preset.image_size)
        assert len(decoded) <= taken + predicting.AHEAD
    assert taken == 300


def test_a_run_goes_on_with_an_export_that_it_did_not_begin_with(tmp_path, capsys):
    folder = finished("retrain", tmp_path, *FLAGS, "--epochs", "1")
    file = folder / "network.pt2"
    assert start("retrain", tmp_path, *FLAGS, "--resume", "auto", "--epochs", "1", "--export", "pt2") == 0
    assert "complete" in capsys.readouterr().out
    file.unlink()
    assert start("retrain", tmp_path, *FLAGS, "--resume", "auto", "--epochs", "2", "--export", "pt2") == 0
    assert file.is_file()
