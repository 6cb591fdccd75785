"""What a run goes on with is what it began with, wherever it lies."""

import json
import shutil
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from tests.harness import finished, image_folder, only_run, same_run, start, weights
from utils.reports import report
from utils.system import checkpoint

QUICK = ["--no-tensorboard", "--batch_size", "12", "--workers", "0", "--image_size", "24"]
OTHER_ARCH = [[0, 3] * 10, [1, 4] * 10]
ARCH = [[0, 4] * 10, [1, 0] * 10]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """One epoch of each script on three classes of images: a folder with ``data`` and ``result`` for each."""
    bases = {}
    for kind in ("search", "retrain"):
        bases[kind] = tmp_path_factory.mktemp(kind)
        image_folder(bases[kind] / "data", False)
        (bases[kind] / "arch.json").write_text(json.dumps(ARCH))
        more = ["--arch", str(bases[kind] / "arch.json")] if kind == "retrain" else []
        flags = [*QUICK, "--data", str(bases[kind] / "data"), "--epochs", "1", *more]
        assert start(kind, bases[kind] / "result", *flags) == 0
    return bases


@pytest.fixture
def again(begun, tmp_path):
    """A function that copies the folder of a begun run, and one that goes on with it."""

    def copied(kind: str):
        base = tmp_path / kind
        shutil.copytree(begun[kind], base)

        def go_on(*more: str) -> int:
            data = [] if "--data" in more else ["--data", str(base / "data")]
            return start(kind, base / "result", "--resume", "auto", "--epochs", "2", *QUICK, *more, *data)

        return base, go_on

    return copied


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.lock"}


def one_line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def rename_class(data):
    for side in ("train", "val"):
        (data / side / "class1").rename(data / side / "class1x")


def remove_an_image(data):
    (data / "train" / "class1" / "3.png").unlink()


def swap_files(data):
    """Other names; numbers stay."""
    (data / "train" / "class1" / "3.png").rename(data / "train" / "class1" / "z.png")


def change_an_image(data):
    Image.new("RGB", (24, 24)).save(data / "val" / "class2" / "0.png")


CHANGES = [
    (rename_class, "class 1 is 'class1' there, 'class1x' here"),
    (remove_an_image, "training images: 23, not 24"),
    (swap_files, "names or sizes"),
    (change_an_image, "names or sizes"),
]


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_changed_data_are_refused_with_what_differs_and_nothing_is_touched(kind, again, capsys):
    base, go_on = again(kind)
    folder = only_run(base / "result", kind)
    before = content(folder)
    shutil.copytree(base / "data", base / "kept")
    for change, named in CHANGES:
        shutil.rmtree(base / "data")
        shutil.copytree(base / "kept", base / "data")
        change(base / "data")
        capsys.readouterr()
        assert go_on() == 2
        assert named in one_line(capsys)
        assert content(folder) == before


def test_images_of_another_size_are_refused(tmp_path, capsys):
    image_folder(tmp_path / "data", False)
    flags = ["--data", str(tmp_path / "data"), "--batch_size", "12", "--no-tensorboard"]
    finished("retrain", tmp_path / "result", *flags, "--epochs", "1")
    for path in (tmp_path / "data").rglob("*.png"):
        Image.open(path).resize((32, 32)).save(path)
    capsys.readouterr()
    assert start("retrain", tmp_path / "result", *flags, "--epochs", "2", "--resume", "auto") == 2
    assert "image size: 32, not 24" in one_line(capsys)


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_moved_data_go_on_bit_for_bit(kind, again):
    base, go_on = again(kind)
    shutil.copytree(base / "result", base / "second")
    assert go_on() == 0
    shutil.move(base / "data", base / "elsewhere")
    assert go_on("--data", str(base / "elsewhere"), "--result", str(base / "second")) == 0
    same_run(only_run(base / "second", kind), only_run(base / "result", kind), kind)


def test_a_checkpoint_without_a_fingerprint_goes_on(again):
    base, go_on = again("retrain")
    path = only_run(base / "result", "retrain") / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["fingerprint"]
    checkpoint.save(path, state)
    assert go_on() == 0


@pytest.mark.parametrize("fate", ["edited", "deleted", "moved"])
def test_the_cells_of_the_checkpoint_decide_whatever_became_of_the_file(fate, again):
    base, go_on = again("retrain")
    arch, given = base / "arch.json", []
    folder = only_run(base / "result", "retrain")
    path = folder / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["flags"]["arch"] = str(arch)  # the run was copied with its file
    checkpoint.save(path, state)
    if fate == "edited":
        arch.write_text(json.dumps(OTHER_ARCH))
        given = ["--arch", str(arch)]
    elif fate == "deleted":
        arch.unlink()
    else:
        arch.rename(base / "moved.json")
        given = ["--arch", str(base / "moved.json")]
    assert go_on(*given) == 0
    assert json.loads((folder / "result.json").read_text())["genotype"] == ARCH


def test_another_arch_is_refused(again, capsys):
    _, go_on = again("retrain")
    capsys.readouterr()
    assert go_on("--arch", json.dumps(OTHER_ARCH)) == 2
    assert "another network" in one_line(capsys)


def test_an_inherited_search_is_not_read_again_and_none_can_be_added(tmp_path, capsys):
    digits = ["--image_size", "16", "--no-tensorboard", "--train_images", "320"]
    idle = ["--controller_steps", "0", "--valid_steps", "0", "--derive_samples", "1"]
    searched = finished("search", tmp_path / "s", *digits, "--epochs", "1", *idle)
    found = tmp_path / "found.json"
    shutil.copy(searched / "genotypes.json", found)
    flags = [*digits, "--arch", str(found), "--inherit", str(searched)]
    folder = finished("retrain", tmp_path / "r", *flags, "--epochs", "1")
    shutil.rmtree(tmp_path / "s")
    found.unlink()
    assert start("retrain", tmp_path / "r", "--resume", str(folder), "--epochs", "2", *flags) == 0
    fresh = finished("retrain", tmp_path / "fresh", *digits, "--epochs", "1")
    capsys.readouterr()
    assert start("retrain", tmp_path, "--resume", str(fresh), "--epochs", "2", "--inherit", str(folder)) == 2
    assert "--inherit" in one_line(capsys)


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_another_number_of_processes_is_refused(kind, again, capsys):
    base, go_on = again(kind)
    path = only_run(base / "result", kind) / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["statistics_by_rank"] = [{}, {}]
    checkpoint.save(path, state)
    capsys.readouterr()
    assert go_on() == 2
    assert "2 processes" in one_line(capsys)


def test_a_file_that_lies_in_no_run_is_refused_and_its_folder_stays_as_it_is(again, tmp_path, capsys):
    base, _ = again("retrain")
    project = tmp_path / "proj"
    project.mkdir()
    shutil.copy(only_run(base / "result", "retrain") / "checkpoint.pt", project)
    for name in ("result.json", "config.json", "report.md", "metrics.jsonl"):
        (project / name).write_text("mine")
    before = content(project)
    capsys.readouterr()
    assert start("retrain", tmp_path / "result", "--resume", str(project / "checkpoint.pt"), "--epochs", "2") == 2
    assert "proj" in one_line(capsys)
    assert content(project) == before
    assert not (tmp_path / "result").exists()


def test_a_damaged_tensor_is_refused_by_all_who_read(again, tmp_path, capsys):
    for kind in ("search", "retrain"):
        base, go_on = again(kind)
        path = only_run(base / "result", kind) / "checkpoint.pt"
        damaged = bytearray(path.read_bytes())
        value = next(v for v in weights(path.parent).values() if v.dim() == 2)
        damaged[damaged.index(value.numpy().tobytes()) + 3] ^= 64
        path.write_bytes(damaged)
        capsys.readouterr()
        assert go_on() == 2
        assert "damaged" in one_line(capsys)
        use = ["--evaluate", str(path)] if kind == "retrain" else ["--inherit", str(path)]
        assert start("retrain", tmp_path / "new", *use) == 2
        assert "damaged" in one_line(capsys)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_result_vouches_for_everything_else(kind, begun, tmp_path, monkeypatch):
    """The run ends while the file before it is written: there is no result, and going on writes all of it."""
    flags = [*QUICK, "--data", str(begun[kind] / "data"), "--epochs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_text", Mock(side_effect=KeyboardInterrupt))
        assert start(kind, tmp_path, *flags) == 130
    folder = only_run(tmp_path, kind)
    assert not (folder / "result.json").exists()
    (folder / ".checkpoint.pt.0123.writing").touch()  # what a killed writer leaves
    assert start(kind, tmp_path, *flags, "--resume", "auto") == 0
    assert {"result.json", "report.json", "report.md", "loss.png"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob(".*writing*"))
