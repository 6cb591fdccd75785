"""The rules by which any file becomes 8-bit RGB, what is refused by name, and the memory that it takes."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import check, decoding
from data.datasets import find_dataset, load
from data.decoding import DataError, decode
from data.images import Entry, Images, decode_all
from utils.system.signals import Stopped

SIDE = 6


def grey(path: Path, values, kind) -> Path:
    """A picture of equal rows with these values from left to right."""
    pixels = np.array([values] * len(values)).astype(kind)
    if path.suffix == ".pgm":  # of 16 bits: older versions of Pillow read such files, and write none
        path.write_bytes(f"P5 {len(values)} {len(values)} 65535 ".encode() + pixels.astype(">u2").tobytes())
    else:
        Image.fromarray(pixels).save(path)
    return path


def broken_profile(path: Path) -> Path:
    """A PNG whose colour profile, behind the pixels, is empty: Pillow raises IndexError."""
    Image.new("RGB", (32, 32), (9, 9, 9)).save(path, "PNG")
    content = path.read_bytes()
    chunk = struct.pack(">I", 0) + b"iCCP" + struct.pack(">I", zlib.crc32(b"iCCP"))
    path.write_bytes(content[:-12] + chunk + content[-12:])
    return path


LEVELS = [0, 1, 50, 128, 200, 255]
SCALED = {
    "float in [0, 1]": ("x.tif", np.array(LEVELS) / 255, np.float32, LEVELS),
    "double in [0, 1]": ("x.tif", np.array(LEVELS) / 255, np.float64, LEVELS),
    "int32 of 8 bits": ("x.tif", LEVELS, np.int32, LEVELS),
    "int32 of 16 bits": ("x.tif", np.array(LEVELS) * 257, np.int32, LEVELS),
    "uint16": ("x.png", np.array(LEVELS) * 257, np.uint16, LEVELS),
    "uint16 in a TIFF": ("x.tif", np.array(LEVELS) * 257, np.uint16, LEVELS),
    "uint16 in a PGM": ("x.pgm", np.array(LEVELS) * 257, np.uint16, LEVELS),
    "uint16, all of it dark": ("x.png", LEVELS, np.uint16, [0, 0, 0, 0, 1, 1]),
    "16 bits in a PGM, all of it dark": ("x.pgm", LEVELS, np.uint16, [0, 0, 0, 0, 1, 1]),
}
REFUSED = {
    "float above 1": ([0, 1, 255], np.float32, "float values from 0 to 255"),
    "float below 0": ([-1, 0, 1], np.float32, "float values from -1 to 1"),
    "nan": ([0, np.nan, 1], np.float32, "float values from nan"),
    "int32 above 16 bits": ([0, 7, 70000], np.int32, "whole values from 0 to 70000"),
    "int32 below 0": ([-3, 0, 7], np.int32, "whole values from -3 to 7"),
}


@pytest.mark.parametrize("case", SCALED)
def test_values_that_are_not_of_8_bits_are_scaled_by_the_rule(case, tmp_path):
    name, values, kind, expected = SCALED[case]
    path = grey(tmp_path / name, values, kind)
    assert decode(path, SIDE).tolist() == [[expected] * SIDE] * 3


@pytest.mark.parametrize("case", REFUSED)
def test_values_whose_scale_nobody_knows_are_refused_by_name_in_training_and_by_the_check(case, tmp_path, capsys):
    values, kind, said = REFUSED[case]
    for side in ("train", "val"):
        for number, label in enumerate("ab"):
            (tmp_path / side / label).mkdir(parents=True)
            Image.new("L", (3, 3), 10 * number + len(side)).save(tmp_path / side / label / "fine.png")
    path = grey(tmp_path / "val" / "b" / "odd.tif", values, kind)
    with pytest.raises(DataError) as error:
        decode(path, SIDE)
    assert str(error.value).startswith(f"{path} cannot be decoded: {said}")
    assert check.main([str(tmp_path)]) == 1
    assert f"val/b/odd.tif cannot be decoded: {said}" in capsys.readouterr().out


def test_whatever_a_decoder_raises_belongs_to_the_file(tmp_path):
    for side in ("train", "val"):
        for label in "ab":
            (tmp_path / side / label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / side / label / "fine.png")
    path = broken_profile(tmp_path / "train" / "a" / "bare.png")
    with pytest.raises(IndexError):
        Image.open(path).load()
    with pytest.raises(DataError) as error:
        load(find_dataset(str(tmp_path)), log=lambda line: None)
    assert str(error.value) == f"{path} cannot be decoded: IndexError: index out of range"
    dataset = load(find_dataset(str(tmp_path)), bad_images="skip", log=lambda line: None)
    assert (dataset.skipped, len(dataset.train)) == ((str(error.value),), 2)


def test_what_a_decoder_only_warns_of_neither_fails_nor_reaches_the_console(tmp_path, monkeypatch):
    Image.new("RGB", (12, 12), (1, 2, 3)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    decoding.quieten.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(tmp_path / "x.png", 8)[:, 0, 0].tolist() == [1, 2, 3]
    decoding.quieten.cache_clear()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit, at which it refuses
    with pytest.raises(DataError, match=r"x\.png cannot be decoded: Image size \(144 pixels\)"):
        decode(tmp_path / "x.png", 8)


def test_large_pictures_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    paths = tuple(tmp_path / f"{i}.png" for i in range(24))
    for path in paths:
        Image.new("RGBA", (10, 10)).save(path)
    monkeypatch.setattr(decoding, "HEAVY", 0)
    inside, most, real = [], [], decoding.rgb

    def watched(image, **options):
        inside.append(image)
        most.append(len(inside))
        try:
            return real(image, **options)
        finally:
            inside.pop()

    monkeypatch.setattr(decoding, "rgb", watched)
    images, bad = decode_all(Images.of([Entry(path) for path in paths], 4), keep=True, skip_bad=True, what="x")
    assert (len(images), bad, max(most)) == (24, [], 1)


def test_a_stop_while_a_picture_is_decoded_says_nothing_of_the_picture(tmp_path, monkeypatch):
    def stopped(*_values, **_options):
        raise Stopped(15, resumable=False)

    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    monkeypatch.setattr(decoding, "rgb", stopped)
    with pytest.raises(Stopped):
        decode(tmp_path / "x.png", 8)
