import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from data.datasets import find_dataset, load
from data.decoding import DataError, decode
from data.images import Entry, Images, decode_all
from data.loaders import make_loader
from data.presets import large

ORIENTATION = 0x0112


def colour(path, size=16):
    """The decoded colour of an image that is all one colour."""
    decoded = decode(path, size)
    assert (decoded.dtype, decoded.shape) == (torch.uint8, (3, size, size))
    assert (decoded == decoded[:, :1, :1]).all()
    return decoded[:, 0, 0].tolist()


def quadrants(width=60, height=40):
    """Red, green, blue and white quarters, row by row."""
    image = Image.new("RGB", (width, height), "white")
    for box, name in (((0, 0), "red"), ((width // 2, 0), "green"), ((0, height // 2), "blue")):
        image.paste(name, (*box, box[0] + width // 2, box[1] + height // 2))
    return image


def spoil(path, kind):
    """A file of that kind that no decoder can read."""
    if kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({"empty": b"", "html": b"<html><body>404 Not Found</body></html>"}[kind])


def large_images(root, classes=("a", "b"), each=3, side=80):
    for part in ("train", "val"):
        for k, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(each):
                Image.new("RGB", (side, side + 1), (60 * k, 40 * i, 90)).save(folder / f"{i}.png")
    return root


def read(root, **options):
    lines = []
    return load(find_dataset(str(root)), log=lines.append, **options), lines


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16", "F"])
def test_every_mode_becomes_three_channels(tmp_path, mode):
    path = tmp_path / ("x.png" if mode in ("1", "L", "P", "RGB", "I;16") else "x.tif")
    image = Image.new("RGB", (20, 12), (200, 200, 200) if mode != "1" else "white")
    if mode == "I;16":
        image = Image.fromarray(np.full((12, 20), 200 * 257, dtype=np.uint16))
    elif mode == "F":
        image = Image.fromarray(np.full((12, 20), 200 / 255, dtype=np.float32))
    elif mode != "RGB":
        image = image.convert("L").convert(mode) if mode == "P" else image.convert(mode)
    image.save(path)
    expected = 255 if mode == "1" else 200
    assert all(abs(value - expected) <= 1 for value in colour(path))


def test_palette_and_cmyk_keep_their_colours(tmp_path):
    Image.new("RGB", (9, 9), (10, 130, 250)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    assert colour(tmp_path / "p.png") == [10, 130, 250]
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    with Image.open(tmp_path / "c.jpg") as image:
        assert image.mode == "CMYK"
    assert np.abs(np.subtract(colour(tmp_path / "c.jpg"), [255, 0, 0])).max() <= 4


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_is_laid_on_black(tmp_path, mode):
    alpha = np.array([[0, 128, 255]] * 3, dtype=np.uint8)
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 1]] * 3, dtype=np.uint8)).convert("P")
        image.putpalette([240, 240, 240, 240, 240, 240])
        image.save(tmp_path / "x.png", transparency=0)
        expected = [0, 240, 240]
    else:
        image = Image.new("RGB", (3, 3), (240, 240, 240)).convert(mode)
        image.putalpha(Image.fromarray(alpha))
        image.save(tmp_path / "x.png")
        expected = [0, 240 * 128 / 255, 240]
    decoded = decode(tmp_path / "x.png", 3).float()
    assert (decoded[:, 1] - torch.tensor(expected)).abs().max() <= 1


def test_the_content_decides_and_not_the_name(tmp_path):
    Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(tmp_path / "x.JPG")
    assert colour(tmp_path / "x.JPG") == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (3, 4000), (4000, 3), (1, 7)])
def test_tiny_and_elongated_images_are_resized(tmp_path, size):
    Image.new("RGB", size, (7, 80, 160)).save(tmp_path / "x.png")
    assert colour(tmp_path / "x.png", 32) == [7, 80, 160]
    Image.new("RGB", size, (120, 120, 120)).save(tmp_path / "x.jpg")
    assert colour(tmp_path / "x.jpg", 32) == [120, 120, 120]


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_turns_the_picture(tmp_path, turn):
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    quadrants().save(tmp_path / "x.jpg", exif=exif, quality=100, subsampling=0)
    with Image.open(tmp_path / "x.jpg") as image:
        expected = ImageOps.exif_transpose(image).resize((24, 24), Image.Resampling.BILINEAR)
    decoded = decode(tmp_path / "x.jpg", 24)
    assert torch.equal(decoded, torch.from_numpy(np.array(expected)).permute(2, 0, 1))
    corner = {1: "red", 2: "green", 3: "white", 4: "blue", 5: "red", 6: "blue", 7: "white", 8: "green"}[turn]
    wanted = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}[corner]
    assert (decoded[:, 4, 4].float() - torch.tensor(wanted)).abs().max() < 6


def test_a_damaged_exif_does_not_spoil_a_sound_picture(tmp_path):
    # Orientation 6, then ResolutionUnit, a short, written as text: Pillow cannot write such an EXIF anew.
    entries = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack("<HHI4s", 0x0103, 2, 4, b"abc\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    quadrants().save(tmp_path / "x.jpg", exif=exif, quality=100, subsampling=0)
    with Image.open(tmp_path / "x.jpg") as image, pytest.raises(struct.error):
        ImageOps.exif_transpose(image)
    assert decode(tmp_path / "x.jpg", 24)[2, 4, 4] > 245  # turned: blue, from the lower left, is at the upper left


def test_a_large_jpeg_is_decoded_coarsely_and_looks_the_same(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.BICUBIC)
    image.save(tmp_path / "x.jpg", quality=95)
    expected = torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert (decode(tmp_path / "x.jpg", 64).float() - expected.float()).abs().mean() < 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@pytest.mark.parametrize("kind", ["truncated", "empty", "html", "folder", "missing"])
def test_what_cannot_be_decoded_is_named_in_one_line(tmp_path, kind, suffix):
    path = tmp_path / f"bad one.{suffix}"
    spoil(path, kind)
    with pytest.raises(DataError) as error:
        decode(path, 32)
    assert str(error.value).startswith(f"{path} cannot be decoded: ")
    assert "\n" not in str(error.value)


def test_decode_all_keeps_the_order_and_reports_the_bad(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(600)]  # more than wait at a time
    for i, path in enumerate(paths):
        Image.new("RGB", (2, 2), (i // 256, i % 256, 0)).save(path)
    paths[3].write_bytes(b"")
    paths[590].write_bytes(b"")
    images = Images.of([Entry(path, i) for i, path in enumerate(paths)], 2)
    kept, bad = decode_all(images, keep=True, skip_bad=True, what="train")
    good = kept.labels.tolist()
    assert good == [i for i in range(600) if i not in (3, 590)]
    assert [256 * int(p[0, 0, 0]) + int(p[1, 0, 0]) for p in kept.pixels] == good
    assert [message.split(" cannot")[0] for message in bad] == [str(paths[3]), str(paths[590])]
    checked, _ = decode_all(images, keep=False, skip_bad=True, what="train")
    assert (checked.pixels, checked.labels.tolist()) == (None, good)
    with pytest.raises(DataError, match=r"/3\.png cannot"):
        decode_all(images, keep=True, skip_bad=False, what="train")


@pytest.mark.parametrize("kind", ["truncated", "empty", "html"])
@pytest.mark.parametrize("cache", ["ram", "none"])
def test_bad_images_stop_or_are_skipped_and_counted(tmp_path, kind, cache):
    root = large_images(tmp_path / "set")
    bad = [root / "train" / "b" / "1.png", root / "val" / "a" / "2.png"]
    for path in bad:
        path.unlink()
        spoil(path, kind)
    dataset, lines = read(root, cache=cache, bad_images="skip")
    assert (len(dataset.train), len(dataset.val)) == (5, 5)
    assert [message.split(" cannot")[0] for message in dataset.skipped] == [str(path) for path in bad]
    assert dataset.facts()["skipped"] == list(dataset.skipped)
    assert [line for line in lines if "skipped" in line] == [f"skipped: {message}" for message in dataset.skipped]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert [dataset.train.sample(i)[0][1, 0, 0].item() for i in range(5)] == [0, 40, 80, 0, 80]
    if cache == "ram":
        with pytest.raises(DataError, match=r"train/b/1\.png cannot be decoded"):
            read(root, cache=cache, bad_images="stop")


def test_a_class_that_skipping_empties_is_refused(tmp_path):
    root = large_images(tmp_path / "set", each=1)
    (root / "val" / "b" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="class 'b' has no image left in val"):
        read(root, bad_images="skip")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_stops_a_pass_in_one_line_under_workers_too(tmp_path, workers):
    paths = tuple(tmp_path / f"{i}.png" for i in range(6))
    for path in paths:
        Image.new("RGB", (30, 30)).save(path)
    paths[4].write_bytes(b"")
    images = Images.of([Entry(path) for path in paths], 74)
    options = {"device": torch.device("cpu"), "seed": 0, "stream": "x", "augment": True, "shuffle": False}
    batches = iter(make_loader(images, large(65), batch_size=2, workers=workers, **options))
    assert [len(next(batches).labels) for _ in range(2)] == [2, 2]
    with pytest.raises(DataError) as error:
        next(batches)
    with pytest.raises(DataError) as plain:
        decode(paths[4], 74)
    assert str(error.value) == str(plain.value)
