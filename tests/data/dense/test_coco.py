"""Masks from COCO's JSON: what lies over what, and which ids they hold."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from data.check import main as check
from data.decoding import DataError
from data.dense.masks import Outlines, filled, outline_fault
from tests.outlined import SIZE, change, compressed, objects, read, square

if find_spec("pycocotools") is None:
    pytest.skip("masks from COCO's JSON need pycocotools", allow_module_level=True)


def test_outlines_give_the_masks_that_files_give(made):
    files, drawn = (read(made[name])[0] for name in ("masks", "coco"))
    assert files.classes == drawn.classes == ("background", "blue", "green", "red")
    assert torch.equal(files.train.maps, drawn.train.maps)
    assert files.fingerprint != drawn.fingerprint
    lazy = read(made["coco"], cache="none")[0]
    assert torch.equal(lazy.train.sample(3)[1]["mask"], drawn.train.sample(3)[1]["mask"])


def test_later_objects_lie_over_earlier_ones_and_crowds_below_all(coco):
    crowd = {
        "segmentation": {"size": [SIZE, SIZE], "counts": [0, 12 * SIZE, 12 * SIZE]},
        "iscrowd": 1,
        "category_id": 3,
    }
    change(coco, objects({}, {"segmentation": square(4, 4, 8, 8), "category_id": 2}, crowd))
    ids = read(coco)[0].train.maps[0].numpy()
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[:, :12] = 255
    expected[2:6, 2:6], expected[4:8, 4:8] = 1, 2
    assert np.array_equal(ids, expected)


def test_polygons_of_one_object_are_one(coco):
    change(coco, objects({"segmentation": square(0, 0, 3, 3) + square(10, 10, 14, 12)}))
    ids = read(coco)[0].train.maps[0].numpy()
    assert ids.sum() == ids[:3, :3].sum() + ids[10:12, 10:14].sum() == 9 + 8


def test_ids_of_classes_are_in_the_order_of_those_of_categories_whatever_these_are(made, coco):
    def renumber(document):
        for entry in document["categories"]:
            entry["id"] *= 7
        for entry in document["annotations"]:
            entry["category_id"] *= 7
            entry["image_id"] = f"no. {entry['image_id']}"
        for entry in document["images"]:
            entry["id"] = f"no. {entry['id']}"

    for side in ("train", "val"):
        change(coco, renumber, side)
    assert torch.equal(read(coco)[0].train.maps, read(made["coco"])[0].train.maps)


def test_a_background_among_the_categories_is_not_added_again(coco):
    for side in ("train", "val"):
        change(coco, lambda document: document["categories"].append({"id": 0, "name": "background"}), side)
    assert read(coco)[0].classes == ("background", "blue", "green", "red")


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_read_as_their_library_reads_them(seed):
    random = np.random.default_rng(seed)
    mask = np.repeat(random.integers(0, 2, (7, 5)), 60, axis=0)  # long runs take several letters
    mask[random.integers(0, 420, 9), random.integers(0, 5, 9)] ^= 1
    size, packed = (5, 420), compressed(mask)
    changes = np.flatnonzero(np.diff(mask.T.flatten(), prepend=0))  # column by column, the first run is outside
    plain = {"size": packed["size"], "counts": np.diff(changes, prepend=0, append=mask.size).tolist()}
    for outline in (packed, plain):
        assert outline_fault(outline, size) is None
        assert np.array_equal(filled(outline, size, "x"), mask.astype(bool))


def test_an_image_without_an_object_is_background_and_is_spoken_of(coco, capsys):
    change(coco, objects({}))
    found, said = read(coco)
    assert not found.train.maps[1:].any()
    assert any("4 images have no object" in line for line in said)
    assert check([str(coco)]) == 0
    assert capsys.readouterr().out.count("notice: no object:") == 4


def test_the_check_looks_for_outlines_and_for_boxes_where_there_are_some(coco, capsys):
    assert check([str(coco)]) == 0
    printed = capsys.readouterr().out
    assert "5 images with masks" in printed
    assert "boxes" not in printed
    for side in ("train", "val"):
        change(
            coco,
            lambda document: [e.update(bbox=[1, 1, 2, 2], segmentation=[]) for e in document["annotations"]] and None,
            side,
        )
    assert check([str(coco)]) == 0
    assert "with masks" not in capsys.readouterr().out


def test_without_pycocotools_its_name_is_said(coco, monkeypatch):
    monkeypatch.setattr("data.dense.coco.find_spec", lambda _name: None)
    with pytest.raises(DataError, match=r"pycocotools: pip install -r requirements-optional\.txt"):
        read(coco)


def test_outlines_say_what_they_are():
    assert str(Outlines("what a.json outlines in b.png", (2, 3), ())) == "what a.json outlines in b.png"
    assert Outlines("", (2, 3), ()).ids().shape == (3, 2)
