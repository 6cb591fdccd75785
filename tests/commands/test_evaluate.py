"""Evaluating checkpoints, flags that have no part in it, prediction of whole folders, and exports beside both."""

import csv
import os

import pytest
import torch
from PIL import Image

import retrainer_cifar
from data import predicting
from data.predicting import Pictures
from data.presets import IMAGENET, large, small
from tests.harness import SMALL, evaluated, finished, refused, start
from utils.system.checkpoint import save

FLAGS = [*SMALL, "--epochs", "1", "--train_images", "320"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A retraining with an average of weights on the digits."""
    return finished("retrain", tmp_path_factory.mktemp("run"), *FLAGS, "--ema", "0.9")


@pytest.mark.parametrize("name", ["module.{}", "_orig_mod.module.{}"])
def test_names_that_wrappers_add_change_no_figure_of_an_average_of_weights(name, run, tmp_path, capsys):
    """Of one that stopped within an epoch, whose average has old statistics."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    average = state["extras"]["average"]["weights"]
    for key in [key for key in average if "running_mean" in key]:
        average[key] = average[key] + 1
    found = []
    for renamed in ("{}", name):
        state["model"] = {renamed.format(key): value for key, value in state["model"].items()}
        state["extras"]["average"]["weights"] = {renamed.format(key): value for key, value in average.items()}
        save(tmp_path / "odd.pt", state)
        found.append(evaluated(capsys, tmp_path / "odd.pt"))
    assert found[0] == found[1] == evaluated(capsys, run / "checkpoint.pt")


@pytest.mark.parametrize(
    "flags",
    [
        ["--arch", str([[0, 3] * 10, [1, 4] * 10])],
        ["--blocks", "[2]"],
        ["--child_out_filters", "6"],
        ["--stem", "full"],
        ["--antialias", "none"],
        ["--no-child_use_aux_heads"],
        ["--num_class", "12"],
        ["--image_size", "32"],
        ["--inherit", "somewhere"],
        ["--resume", "auto"],
        ["--seeds", "0,1"],
    ],
    ids=lambda flags: flags[0],
)
def test_a_flag_that_an_evaluation_would_ignore_is_refused_by_name(flags, run, capsys):
    assert flags[0].replace("no-", "") in refused(capsys, "--evaluate", run / "checkpoint.pt", *flags)


def test_flags_that_agree_with_the_evaluated_network_are_taken(run, capsys):
    cells = str(torch.load(run / "best.pt")["network"]["cells"])
    flags = ["--blocks", "[1]", "--child_out_filters", "4", "--arch", cells]
    assert evaluated(capsys, run / "checkpoint.pt", *flags) == evaluated(capsys, run / "checkpoint.pt")


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
    assert last == "written to predictions.csv; left out: 4 that are no pictures, or hidden"
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
    assert "no image was found; left out: 1 that are no pictures" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "predictions.csv"]
    assert (tmp_path / "predictions.csv").read_text() == "before"


@pytest.mark.parametrize("preset", [small(16, IMAGENET), large(65)], ids=["small", "large"])
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
    folder = finished("retrain", tmp_path, *FLAGS)
    file = folder / "network.pt2"
    assert start("retrain", tmp_path, *FLAGS, "--resume", "auto", "--epochs", "1", "--export", "pt2") == 0
    assert "complete" in capsys.readouterr().out
    file.unlink()
    assert start("retrain", tmp_path, *FLAGS, "--resume", "auto", "--epochs", "2", "--export", "pt2") == 0
    assert file.is_file()
