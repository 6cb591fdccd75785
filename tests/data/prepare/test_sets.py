"""What holds for one data set only: its rules, its lists and the faults of its downloads."""

import json
from itertools import pairwise

import numpy as np
import pytest

from data.prepare.flowers102 import CLASSES as FLOWERS102
from data.prepare.plantvillage import identifier
from tests import miniature
from tests.miniature import AID, MIT67, PLANTVILLAGE, class_folders, picture, prepare, record, refused


def test_aid_50_is_half_of_each_class_by_default_and_under_the_spellings_of_mirrors(tmp_path, sources):
    spaced = ["".join(f" {c.lower()}" if c.isupper() else c for c in label).strip() for label in AID]
    spelled = [*AID[:10], *spaced[10:]]
    mirror = class_folders(tmp_path / "mirror", spelled, 4)
    for source, out in ((mirror, "a"), (sources["aid"], "b")):
        assert prepare("aid", source, tmp_path / out) == 0
        assert set(record(tmp_path / out)["counts"]["train"].values()) == {2}
        assert record(tmp_path / out)["train_ratio"] == 0.5
        assert json.loads((tmp_path / out / "classes.json").read_text()) == AID


def test_sport8_names_what_it_leaves_out_and_keeps_the_capital_class_first(sources, tmp_path, capsys):
    assert prepare("sport8", sources["sport8"], tmp_path / "out") == 0
    output = capsys.readouterr().out
    for part in ("left out 9 that", ".ipynb_checkpoints", "bocce/test", "notes.txt", "40 images found", "1579"):
        assert part in output
    assert json.loads((tmp_path / "out" / "classes.json").read_text())[0] == "RockClimbing"
    assert record(tmp_path / "out")["totals"] == {"train": 32, "val": 8, "left_out": 0}


def test_mit67_rules_take_what_the_lists_say(sources, tmp_path):
    totals = {"official": (134, 67), "all-images": (268, 67), "80-20": (268, 67)}
    for rule, expected in totals.items():
        assert prepare("mit67", sources["mit67"], tmp_path / rule, "--split", rule) == 0
        said = record(tmp_path / rule)
        assert (said["totals"]["train"], said["totals"]["val"]) == expected
    for rule in ("official", "all-images"):
        assert set(record(tmp_path / rule)["files"]["val"]) == {f"{label}/baby+room.JPG" for label in MIT67}


def test_mit67_bad_lines_are_named_with_their_numbers(tmp_path, capsys):
    source = miniature.mit67(tmp_path / "source", count=3)
    (source / "indoorCVPR_09/Images/bakery/test").mkdir()
    bad = ["bakery/test", "bakery/no such.jpg", "mars/a.jpg", "bakery", "bar/shopping mall.jpg", "../bar/x.jpg"]
    file = source / "TrainImages.txt"
    first = len(file.read_text().splitlines()) + 1
    file.write_bytes(file.read_bytes() + "\r\n".join(bad).encode())
    assert prepare("mit67", source, tmp_path / "out") == 2
    error = refused(capsys, "6 bad list lines", *bad)
    places = [error.index(f"TrainImages.txt line {first + n}") for n in range(6)]
    assert all(a < b for a, b in pairwise(places))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rule", "train", "val"),
    [("official", 102, 204), ("trainval", 204, 204), ("swapped", 204, 102), ("80-20", 306, 102)],
)
def test_flowers_pairs_of_image_and_label_are_exact(rule, train, val, sources, tmp_path):
    assert prepare("flowers102", sources["flowers102"], tmp_path / "out", "--split", rule) == 0
    said = record(tmp_path / "out")
    assert said["totals"] == {"train": train, "val": val, "left_out": 408 - train - val}
    labels = miniature.flowers_labels()
    for side in ("train", "val"):
        for path in (tmp_path / "out" / side).glob("*/*"):
            number = int(path.stem.removeprefix("image_"))
            assert path.parent.name == f"flower_{labels[number - 1]:03d}"
            assert path.read_bytes() == (sources["flowers102"] / "jpg" / path.name).read_bytes()
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == FLOWERS102 == sorted(FLOWERS102)


def test_flowers_lists_that_do_not_fit_are_refused_by_number(tmp_path, capsys):
    labels = miniature.flowers_labels()
    faults = [
        ({"labels": labels - 1}, ("label 0 of image", "outside 1 to 102")),
        ({"labels": np.where(np.arange(408) == 7, 103, labels)}, ("label 103 of image 8 ",)),
        ({"labels": np.where(labels == 9, 10, labels)}, ("101 classes of 102", "missing: 9")),
        ({"labels": labels[:-1]}, ("407 labels", "image_00408.jpg")),
        ({"tstid": [0]}, ("tstid names image 0", "1 to 408")),
        ({"valid": [409]}, ("valid names image 409",)),
        ({"valid": [3]}, ("valid names image 3", "already in trnid")),
    ]
    for number, (change, parts) in enumerate(faults):
        source = miniature.flowers102(tmp_path / f"source{number}", **change)
        assert prepare("flowers102", source, tmp_path / "out") == 2
        refused(capsys, *parts)
    source = miniature.flowers102(tmp_path / "whole")
    (source / "jpg" / "image_00007.jpg").unlink()
    (source / "setid.mat").write_bytes(b"<html>")
    assert prepare("flowers102", source, tmp_path / "out") == 2
    refused(capsys, "1 of 408 images are missing", "7")
    picture(source / "jpg" / "image_00007.jpg")
    assert prepare("flowers102", source, tmp_path / "out") == 2
    refused(capsys, "setid.mat is no readable MATLAB file")


@pytest.mark.parametrize("seed", range(3))
def test_plantvillage_keeps_a_leaf_on_one_side_and_comes_near_to_the_share(seed, sources, tmp_path, capsys):
    source = sources["plantvillage"]
    assert prepare("plantvillage", source, tmp_path / "out", "--seed", str(seed)) == 0
    assert "left out the folder x_Removed_from_Healthy_leaves" in capsys.readouterr().out
    leaf_map = json.loads((source / "leaf_grouping/leaf-map.json").read_text())
    said = record(tmp_path / "out")
    leaves = {"train": set(), "val": set()}
    for side, files in said["files"].items():
        for file in files:
            label, name = file.split("/")
            leaves[side] |= {leaf for leaf in leaf_map[identifier(name)] if leaf.startswith(f"{label}:::")}
    assert not leaves["train"] & leaves["val"]
    for label in PLANTVILLAGE:
        train, val = (said["counts"][side][label] for side in ("train", "val"))
        assert abs(train - 0.8 * (train + val)) <= 4  # images of the largest leaf


def test_plantvillage_needs_its_map_or_warns_of_leaves_on_both_sides(tmp_path, capsys):
    source = miniature.plantvillage(tmp_path / "source", leaf_map=False)
    assert prepare("plantvillage", source, tmp_path / "out") == 2
    refused(capsys, "leaf-80-20 needs leaf-map.json")
    assert prepare("plantvillage", source, tmp_path / "out", "--split", "random-80-20") == 0
    assert "ONE LEAF WILL LAND IN BOTH" in capsys.readouterr().out
    assert record(tmp_path / "out")["rule"] == "random-80-20"
