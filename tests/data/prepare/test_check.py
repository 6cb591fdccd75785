import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.images import DataError, decode
from data.prepare.check import inspect, main
from tests.miniature import picture, tree

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path):
    """A clean folder: two classes, one with an odd name, three images each on both sides."""
    for side in ("train", "val"):
        for label in ("a", "Pepper,_bell (x)"):
            for number in range(3):
                picture(tmp_path / "set" / side / label / f"image {number}.jpg")
    return tmp_path / "set"


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(1)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size[::-1], np.uint16))
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)


def truncated(path: Path) -> None:
    noise("RGB", (64, 48)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


BAD = {  # kind, what the reason says, how to make it
    "truncated.jpg": ("damaged", "truncated", truncated),
    "page.jpg": ("damaged", "<!DOCTYPE html>", lambda path: path.write_text("<!DOCTYPE html><p>404 not found")),
    "half.png": ("damaged", "", lambda path: path.write_bytes(picture(path).read_bytes()[:7])),
    "none.JPG": ("empty", "0 bytes", lambda path: path.touch()),
    "gone.jpg": ("damaged", "No such file", dangling),
}
DISGUISED = {
    "gif.jpg": ("GIF", lambda path: noise("P", (9, 9)).save(path, "GIF")),
    "png.jpeg": ("PNG", lambda path: noise("RGBA", (9, 9)).save(path, "PNG")),
    "jpeg.png": ("JPEG", lambda path: noise("RGB", (9, 9)).save(path, "JPEG")),
}


def test_a_clean_folder_gives_status_0_and_a_summary(root, capsys):
    for number in range(20):
        picture(root / "train" / "a" / f"more {number}.JPEG")
    noise("L", (30, 20)).save(root / "val" / "a" / "grey.png")
    assert main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "train: 2 classes, 26 images",
        "val: 2 classes, 7 images",
        "33 good, 0 damaged, 0 empty, 0 disguised",
    ]
    assert lines[3:] == ["modes: RGB 32, L 1", "sizes: 2 different, sides from 4 to 30; most common: 4x4 32, 30x20 1"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_reason_and_only_quarantine_moves_it(name, root, tmp_path, capsys):
    kind, why, make = BAD[name]
    make(root / "val" / "a" / name)
    clean = {file: content for file, content in tree(root).items() if name not in file}
    assert main([str(root)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert line.startswith(f"{kind}: val/a/{name}: ")
    assert why in line
    assert os.path.lexists(root / "val" / "a" / name)
    assert main([str(root), "--quarantine", str(tmp_path / "bad" / "files")]) == 1
    assert os.path.lexists(tmp_path / "bad" / "files" / "val" / "a" / name)
    assert tree(root) == clean
    assert main([str(root)]) == 0


@pytest.mark.parametrize("name", DISGUISED)
def test_a_disguised_file_is_reported_but_stays_since_training_reads_it(name, root, tmp_path, capsys):
    found, make = DISGUISED[name]
    make(root / "train" / "a" / name)
    before = tree(root)
    assert main([str(root), "--quarantine", str(tmp_path / "bad")]) == 1
    output = capsys.readouterr().out
    assert f"disguised: train/a/{name}: {found} content" in output
    assert "12 good, 0 damaged, 0 empty, 1 disguised" in output
    assert tree(root) == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2000)])
def test_odd_modes_and_sizes_are_no_fault(mode, size, tmp_path):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    noise(mode, size).save(path)
    finding = inspect(str(path))
    assert (finding.kind, finding.mode, finding.size) == ("good", mode, size)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the damage
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_raises_and_whatever_is_called_readable_can_be_trained_on(tmp_path_factory, data):
    path = (
        tmp_path_factory.getbasetemp() / f"damaged.{data.draw(st.sampled_from(['jpg', 'png', 'tif', 'bmp', 'webp']))}"
    )
    noise("RGB", (16, 12)).save(path)
    content = bytearray(path.read_bytes())
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=9)
    ):
        content[position] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    finding = inspect(str(path))
    assert finding.kind == "empty" if not path.stat().st_size else finding.kind in ("good", "damaged", "disguised")
    if finding.readable:
        assert decode(path, 8).shape == (3, 8, 8)
    else:
        assert finding.reason
        with pytest.raises(DataError):
            decode(path, 16)


def test_classes_on_one_side_only_and_classes_without_an_image_are_named(root, capsys):
    picture(root / "train" / "only here" / "x.jpg")
    (root / "val" / "new").mkdir()
    for path in (root / "val" / "a").iterdir():
        path.write_bytes(b"")
    assert main([str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "class in train/ but not in val/: only here",
        "class in val/ but not in train/: new",
        "class without a readable image in val/: new",
        "class without a readable image in val/: a",
    ):
        assert line in lines
    shutil.rmtree(root / "val")
    assert main([str(root)]) == 1
    assert "no class folders in val/" in capsys.readouterr().out


def test_the_same_bytes_on_both_sides_are_reported_with_both_names(root, capsys):
    same = root / "train" / "a" / "image 0.jpg"
    shutil.copy(same, root / "train" / "a" / "twin.jpg")
    assert main([str(root)]) == 0  # twice in train is no leak
    shutil.copy(same, root / "val" / "Pepper,_bell (x)" / "other.jpg")
    capsys.readouterr()
    assert main([str(root)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "same bytes" in line]
    for name in ("train/a/image 0.jpg", "train/a/twin.jpg", "val/Pepper,_bell (x)/other.jpg"):
        assert name in line


def test_what_training_does_not_read_is_a_notice_and_no_fault(root, capsys):
    for name in (
        "train/.ipynb_checkpoints/x.jpg",
        "val/a/._x.jpg",
        "val/a/nested/x.jpg",
        "train/loose.jpg",
        "val/a/animation.gif",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    assert main([str(root)]) == 0
    output = capsys.readouterr().out
    for name in (".ipynb_checkpoints", "._x.jpg", "val/a/nested", "loose.jpg", "animation.gif"):
        assert name in output


def test_nothing_in_a_quarantine_is_overwritten(root, tmp_path, capsys):
    for name in ("1.jpg", "2.jpg"):
        (root / "val" / "a" / name).write_bytes(b"new")
    (tmp_path / "bad/val/a").mkdir(parents=True)
    (tmp_path / "bad/val/a/2.jpg").write_bytes(b"old")
    before = tree(tmp_path)
    assert main([str(root), "--quarantine", str(tmp_path / "bad")]) == 1
    assert "nothing was moved: val/a/2.jpg" in capsys.readouterr().err
    assert tree(tmp_path) == before


WRONG = [
    ([], "DIR"),
    (["nowhere"], "nowhere"),
    (["set/train"], "train/<class>/"),
    (["set/train/a/image 0.jpg"], "image 0.jpg"),
    (["set", "--quarantine", "set/bad"], "in one another"),
    (["set", "--quarantine", "."], "in one another"),
    (["set", "--quarantine", "file"], "cannot write"),
    (["set\0"], "set"),
]


@pytest.mark.parametrize(("argv", "part"), WRONG)
def test_wrong_use_is_one_line_and_status_2(argv, part, root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("data.check: ")
    assert error.count("\n") == 1
    assert part in error


def test_the_real_command(root, tmp_path, capsys):
    for number in range(40):
        picture(root / "train" / "a" / f"more {number}.jpg")
    (root / "train" / "a" / "none.jpg").touch()
    run = [sys.executable, "-m", "data.check", str(root), "--quarantine", str(tmp_path / "bad")]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 files moved" in done.stdout
    assert main([str(root), *run[-2:]]) == 0, "here, since starting processes takes longer than all else"
    assert "0 files moved" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "bad").rglob("*.jpg")] == ["none.jpg"]
