"""Both scripts on the small files of one of torchvision's sets: they run, and know their data again."""

import pytest

from data.torchvision_sets import IDX_FILES
from tests.harness import only_run, start
from tests.idx import idx_files
from utils.system import checkpoint

QUICK = ["--batch_size", "20", "--no-tensorboard"]


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_changed_pixels_are_refused_on_resume_and_the_same_go_on_elsewhere(kind, tmp_path, capsys):
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    idx_files(raw, (80, 40))
    flags = [*QUICK, "--data", str(tmp_path / "data")]
    assert start(kind, tmp_path / "result", *flags, "--epochs", "1") == 0
    state = checkpoint.load(only_run(tmp_path / "result", kind) / "checkpoint.pt")
    assert (state["dataset"], state["classes"][9], state["image_size"]) == ("fashion_mnist", "Ankle boot", 32)
    kept = (raw / IDX_FILES[0]).read_bytes()
    (raw / IDX_FILES[0]).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    capsys.readouterr()
    assert start(kind, tmp_path / "result", *flags, "--epochs", "2", "--resume", "auto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "stored pixels or labels" in error
    (raw / IDX_FILES[0]).write_bytes(kept)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    moved = [*QUICK, "--data", str(tmp_path / "elsewhere" / "FashionMNIST"), "--epochs", "2", "--resume", "auto"]
    assert start(kind, tmp_path / "result", *moved) == 0


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_files_that_are_absent_end_in_one_line_with_their_place(kind, tmp_path, capsys):
    (tmp_path / "file").write_text("x")  # below which nothing can be downloaded, network or not
    flags = ["--data", str(tmp_path / "file" / "x"), "--dataset", "svhn"]
    assert start(kind, tmp_path / "result", *QUICK, *flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "svhn" in error
    assert f"put train_32x32.mat, test_32x32.mat into {tmp_path}" in error
