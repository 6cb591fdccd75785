"""Annotations as other systems and tools write them: read, refused with a hint, or said."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.check import main as check
from data.decoding import DataError
from data.folders import SIDES
from tests.odd_values import ODD, damaged, places, replaced, taken_or_refused
from tests.spoiling import bbox, read, save, spoil_json, spoil_xml, voc_mask


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_masks_that_cannot_mean_what_they_say_are_refused_whether_classes_have_names_or_not(folders, cache):
    root = folders["masks"]
    for path in [*(root / "train" / "masks").iterdir(), *(root / "val" / "masks").iterdir()]:
        save(255 * (np.asarray(Image.open(path)) > 0))(path)
    (root / "classes.json").unlink()
    with pytest.raises(DataError, match="hold the id 0 alone, since 255 is ignored: write 0 and 1, not 0 and 255"):
        read(root, "masks", cache=cache)


def test_a_run_says_which_class_ids_occur(folders):
    assert "masks of train hold ids up to 3: 4 classes, of which 4 occur" in read(folders["masks"], "masks")[1]


def test_bad_annotations_stop_or_are_skipped_and_counted_in_every_layout(folders):
    bbox(3, 3, 9, 0)(folders)
    spoil_xml("<xmax>", "<xmax>9")(folders)
    voc_mask(folders).unlink()
    for folder, targets, left in (("masks", "boxes", 5), ("voc", "boxes", 5), ("voc", "masks", 4)):
        with pytest.raises(DataError):
            read(folders[folder], targets)
        dataset, said = read(folders[folder], targets, bad_images="skip")
        assert len(dataset.train) == left
        assert [line for line in said if line.startswith("skipped: ")] == [
            f"skipped: {text}" for text in dataset.skipped
        ]
        assert dataset.skipped


def turn(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_turned_pictures_are_spoken_of_and_sizes_tell_whether_the_stored_one_is_meant(folders, capsys):
    root, names = folders["masks"], ("images", "masks")
    for name in names:  # both of 24x16 pixels, the picture turned on its side by EXIF
        path = root / "train" / name / "000001.png"
        Image.open(path).crop((0, 0, 24, 16)).save(path)
    turn(root / "train" / "images" / "000001.png", 6)
    turn(root / "train" / "images" / "000002.png", 3)
    spoil_json(lambda d: d["images"][1].update(height=16))(folders)
    keep = [0, 2, 3, 4, 5]
    spoil_json(lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] in keep]))(folders)
    stored = np.asarray(
        Image.open(root / "train" / "images" / "000001.png").resize((24, 24), Image.Resampling.BILINEAR)
    )
    for targets in ("masks", "boxes"):
        dataset, said = read(root, targets)
        assert np.array_equal(dataset.train.sample(1)[0].numpy().transpose(1, 2, 0), stored), "not turned"
        notice = f"1 pictures of train are turned by EXIF: {targets} are taken to be of the turned picture"
        assert notice in said
        assert check([str(root)]) == 0
        assert f"notice: {notice}" in capsys.readouterr().out


def test_lists_and_pictures_of_vocs_layout_as_other_systems_write_them(folders):
    root = folders["voc"]
    for folder in ("JPEGImages", "SegmentationClass", "Annotations"):
        for path in (root / folder).glob("train_00000[12].*"):
            path.rename(
                path.with_name(path.name.replace("train_000001", "photo (1)").replace("train_000002", "two words"))
            )
    (root / "JPEGImages" / "photo (1).png").rename(root / "JPEGImages" / "photo (1).PNG")
    xml = root / "Annotations" / "photo (1).xml"
    text = xml.read_text()
    xml.write_text(text[: text.index("<size>")] + text[text.index("</size>") + len("</size>") :])
    lines = ["\ufefftrain_000000  1", "photo (1).PNG", "two words -1", "train_000003"]
    for kind in ("Main", "Segmentation"):
        (root / "ImageSets" / kind / "train.txt").write_text("\r\n".join(lines), encoding="utf-8")
    for targets in ("masks", "boxes"):
        names = [entry.path.stem for entry in read(root, targets)[0].train.entries]
        assert names == ["train_000000", "photo (1)", "two words", "train_000003"]


def test_cocos_layout_as_other_tools_write_it(folders, tmp_path):
    first = read(folders["masks"], "boxes")[0].train

    def renumber(document):
        for entry in document["categories"]:
            entry["id"] += 40
        for entry in document["annotations"]:
            entry["category_id"] += 40
        document["categories"].append({"id": 0, "name": "things"})

    spoil_json(renumber, "val")(folders)
    spoil_json(lambda d: d["categories"].append({"id": 77, "name": "things"}))(folders)
    for image in ("a/", "train2017/"):
        root = tmp_path / image
        (root / "annotations").mkdir(parents=True)
        for side in SIDES:
            document = json.loads((folders["masks"] / side / "annotations.json").read_text())
            target = root / "images" / f"{side}2017"
            shutil.copytree(folders["masks"] / side / "images", target)
            if image == "train2017/":
                for entry in document["images"]:
                    entry["file_name"] = f"{side}2017/{entry['file_name']}"
            (root / "annotations" / f"instances_{side}2017.json").write_text(json.dumps(document))
        dataset, said = read(root, "boxes")
        assert dataset.classes == ("blue", "green", "red", "things")
        assert "no object of train is of 1 classes: things" in said
        assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(dataset.train.entries, first.entries, strict=True))
    for side, name in (("train", "train"), ("val", "valid")):  # Roboflow's
        shutil.copytree(folders["masks"] / side / "images", tmp_path / "r" / name)
        shutil.copy(folders["masks"] / side / "annotations.json", tmp_path / "r" / name / "_annotations.coco.json")
    assert len(read(tmp_path / "r", "boxes")[0].train) == 5
    (root / "annotations" / "instances_train2014.json").write_text("{}")
    with pytest.raises(DataError, match=r"has 2: instances_train2014.json, instances_train2017.json"):
        read(root, "boxes")


# By name, a folder of the fixtures below, what a task reads there, and a file.
READ = {
    "boxes of COCO": ("masks", "boxes", "train/annotations.json"),
    "boxes of VOC": ("voc", "boxes", "Annotations/train_000001.xml"),
    "lists of VOC": ("voc", "masks", "ImageSets/Segmentation/train.txt"),
    "masks": ("masks", "masks", "train/masks/000001.png"),
    "pictures": ("masks", "masks", "train/images/000001.png"),
    "class names": ("masks", "masks", "classes.json"),
}


@pytest.mark.parametrize("name", READ)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_file_is_read_or_refused_in_one_line(name, scenes_by_layout, tmp_path, data):
    folder, targets, file = READ[name]
    source, root = scenes_by_layout[folder], tmp_path / name
    content = (source / file).read_bytes()
    if not root.exists():
        shutil.copytree(source, root)
    if file.endswith(".json") and data.draw(st.booleans()):
        document = json.loads(content)
        document = replaced(document, data.draw(st.sampled_from([*places(document)])), data.draw(st.sampled_from(ODD)))
        (root / file).write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
    else:
        (root / file).write_bytes(data.draw(damaged(content)))
    for bad_images in ("stop", "skip"):
        taken_or_refused(partial(read, root, targets, bad_images=bad_images), DataError)
    assert check([str(root)]) in (0, 1)
