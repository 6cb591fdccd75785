"""Composed scenes: masks and boxes are exact, and the seed decides everything."""

import json

import numpy as np
from PIL import Image

from data.prepare.command import main
from data.prepare.scenes import read_cut_outs
from tests.cutouts import COLOURS, annotations, cutouts, disc, scenes
from tests.miniature import refused, tree


def read(path):
    return np.asarray(Image.open(path)).astype(int)


def test_every_pixel_of_a_mask_has_the_colour_of_its_class(tmp_path):
    folder = scenes(tmp_path, size=48)
    assert json.loads((folder / "classes.json").read_text()) == ["background", *COLOURS]
    seen = set()
    for path in sorted((folder / "train" / "masks").iterdir()):
        image, mask = read(folder / "train" / "images" / path.name), read(path)
        for label, colour in enumerate(COLOURS.values(), 1):
            inside = np.abs(image[mask == label] - colour).max(1, initial=0)
            assert (inside < 130).all(), "half transparent at the least"
            assert (inside == 0).mean() > 0.5 if len(inside) else True
            outside = np.abs(image[mask != label] - colour).max(1)
            assert (outside > 0).all()
            seen |= {label} & set(mask.flat)
    assert seen == {1, 2, 3}


def test_boxes_are_as_tight_as_the_mask_of_their_object(tmp_path):
    folder = scenes(tmp_path, "--objects", "1", size=48)
    document = annotations(folder, "train")
    for image in document["images"]:
        [found] = [a for a in document["annotations"] if a["image_id"] == image["id"]]
        mask = read(folder / "train" / "masks" / image["file_name"])
        rows, columns = np.nonzero(mask)
        x, y, width, height = found["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert found["area"] == len(rows)
        assert set(mask.flat) == {0, found["category_id"]}


def test_objects_stay_visible_and_boxes_hold_their_pixels(tmp_path):
    folder = scenes(tmp_path, "--objects", "5", size=48, number=20)
    document = annotations(folder, "train")
    assert max(sum(a["image_id"] == i["id"] for a in document["annotations"]) for i in document["images"]) > 1
    for image in document["images"]:
        mask = read(folder / "train" / "masks" / image["file_name"])
        own = [a for a in document["annotations"] if a["image_id"] == image["id"]]
        for label in {a["category_id"] for a in own}:
            assert sum(a["area"] for a in own if a["category_id"] == label) == (mask == label).sum()
        assert all(a["area"] > 20 for a in own)


def test_the_seed_decides_and_more_scenes_begin_alike(tmp_path):
    first = tree(scenes(tmp_path / "a", number=6))
    again, other = tree(scenes(tmp_path / "b", number=6)), tree(scenes(tmp_path / "c", "--seed", "1", number=6))
    more = tree(scenes(tmp_path / "d", number=11))
    pictures = [name for name in first if name.endswith(".png")]
    assert [name for name in pictures if first[name] != again[name]] == []
    assert all(first[name] == more[name] for name in pictures)
    assert any(first[name] != other[name] for name in pictures)


def test_no_picture_is_on_both_sides(tmp_path):
    names, sides = read_cut_outs(cutouts(tmp_path, each=6))
    assert names == list(COLOURS)
    for train, val in zip(sides["train"], sides["val"], strict=True):
        assert (len(train), len(val)) == (4, 2)
        assert not {picture.size for picture in train} & {picture.size for picture in val}  # all differ in size


def test_what_cannot_be_composed_ends_in_one_line(tmp_path, capsys):
    def ended(*words):
        assert main(["scenes", *map(str, words)]) == 2

    out = ["--out", tmp_path / "out"]
    ended("--source", tmp_path / "none", *out)
    refused(capsys, "is no folder")
    (tmp_path / "empty").mkdir()
    ended("--source", tmp_path / "empty", *out)
    refused(capsys, "0 subfolders")
    disc(tmp_path / "one" / "red" / "a.png", (255, 0, 0))
    ended("--source", tmp_path / "one", *out)
    refused(capsys, "class red has 1 cut-outs")
    ended("--source", tmp_path / "one", *out, "--size", 8)
    refused(capsys, "--size")
    ended("--source", tmp_path / "one", *out, "--scenes", 1)
    refused(capsys, "--scenes")
    for name, alpha in (("b", 255), ("c", 0)):
        Image.new("RGBA", (9, 9), (1, 2, 3, alpha)).save(tmp_path / "one" / "red" / f"{name}.png")
    disc(tmp_path / "one" / "red" / "d.png", (255, 0, 0))
    assert [len(members) for of in read_cut_outs(tmp_path / "one")[1].values() for members in of] == [1, 1]
    assert main(["scenes", "--source", str(tmp_path / "one"), *map(str, out), "--scenes", "5", "--size", "16"]) == 0
    ended("--source", tmp_path / "one", *out)
    refused(capsys, "not empty")
