import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.check import main
from data.decoding import DataError, decode
from data.images import in_threads
from tests.miniature import picture, tree

ROOT = Path(__file__).resolve().parents[2]


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


BAD = {  # what its line says, how to make it
    "truncated.jpg": ("truncated", truncated),
    "page.jpg": ("cannot identify", lambda path: path.write_text("<!DOCTYPE html><p>404 not found")),
    "half.png": ("", lambda path: path.write_bytes(picture(path).read_bytes()[:7])),
    "none.JPG": ("cannot identify", lambda path: path.touch()),
    "gone.jpg": ("No such file", dangling),
}


def test_a_clean_folder_gives_status_0_and_a_summary(root, capsys):
    for number in range(20):
        picture(root / "train" / "a" / f"more {number}.JPEG")
    noise("L", (30, 20)).save(root / "val" / "a" / "grey.png")
    assert main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "train: 2 classes, 26 images are sound, 0 are not",
        "val: 2 classes, 7 images are sound, 0 are not",
    ]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_reason_and_stays(name, root, capsys):
    why, make = BAD[name]
    make(root / "val" / "a" / name)
    before = tree(root)
    assert main([str(root)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert line.startswith(f"{root}/val/a/{name} cannot be decoded: ")
    assert why in line
    assert tree(root) == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2000)])
def test_odd_modes_and_sizes_and_content_of_another_format_are_no_fault(mode, size, root):
    noise(mode, size).save(root / "train" / "a" / "more.jpg", "TIFF" if mode == "CMYK" else "PNG")
    assert main([str(root)]) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the damage
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_raises_another_exception_whatever_the_size_that_is_decoded(tmp_path_factory, data):
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
    results = list(in_threads(lambda side: decode(path, side), (8, 16)))
    assert len({isinstance(result, DataError) for result in results}) == 1, "what the check accepts can be trained on"


def test_classes_on_one_side_only_and_classes_without_an_image_are_named(root, capsys):
    picture(root / "train" / "only here" / "x.jpg")
    (root / "val" / "new").mkdir()
    for path in (root / "val" / "a").iterdir():
        path.write_bytes(b"")
    assert main([str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    for line in (
        f"{root}: 1 classes in train/ but not in val/: only here",
        f"{root}: 1 classes in val/ but not in train/: new",
        "class without a readable image in val/: a",
    ):
        assert line in lines
    shutil.rmtree(root / "val")
    assert main([str(root)]) == 1
    assert "has no folder val/" in capsys.readouterr().out


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


WRONG = [
    ([], "DIR"),
    (["nowhere"], "nowhere"),
    (["set/train"], "train/<class>/"),
    (["set/train/a/image 0.jpg"], "image 0.jpg"),
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


def test_the_real_command(root):
    (root / "train" / "a" / "none.jpg").touch()
    done = subprocess.run([sys.executable, "-m", "data.check", str(root)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "train/a/none.jpg cannot be decoded" in done.stdout
