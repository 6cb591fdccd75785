"""The layouts of masks and boxes: what is read from them, and one line for everything that cannot be read."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data.check import main as check
from data.decoding import DataError
from data.folders import SIDES
from tests.cutouts import annotations
from tests.spoiling import bbox, read, save, spoil_json, spoil_xml, voc_list, voc_mask


def paths(images):
    return [entry.path for entry in images.entries]


def test_masks_are_the_same_in_both_layouts_and_as_they_lie_there(folders):
    plain, voc = (read(folders[name], "masks")[0] for name in ("masks", "voc"))
    assert plain.classes == voc.classes == ("background", "blue", "green", "red")
    assert torch.equal(plain.train.maps, voc.train.maps)
    mask = np.asarray(Image.open(folders["masks"] / "train" / "masks" / "000002.png"))
    assert np.array_equal(plain.train.maps[2].numpy(), mask)
    image = np.asarray(Image.open(folders["masks"] / "train" / "images" / "000002.png"))
    assert np.array_equal(plain.train.pixels[2].numpy().transpose(1, 2, 0), image)


def test_boxes_are_the_same_in_both_layouts_and_as_they_lie_there(folders):
    plain, voc = (read(folders[name], "boxes")[0] for name in ("masks", "voc"))
    assert plain.classes == voc.classes == ("blue", "green", "red"), "the background is no class of boxes"
    document = annotations(folders["masks"], "train")
    for i, image in enumerate(document["images"]):
        own = [a for a in document["annotations"] if a["image_id"] == image["id"]]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)]
        for found in (plain, voc):
            _, target = found.train.sample(i)
            assert torch.allclose(target["boxes"].as_subclass(torch.Tensor), torch.tensor(corners).float(), atol=1e-4)
            assert target["labels"].tolist() == [a["category_id"] - 1 for a in own]


def test_the_official_names_of_cocos_files_are_known(folders):
    root = folders["masks"]
    (root / "annotations").mkdir()
    for side in ("train", "val"):
        (root / side / "annotations.json").rename(root / "annotations" / f"instances_{side}2017.json")
        (root / side / "images").rename(root / f"{side}2017")
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "val")
    assert len(read(root, "boxes", "coco")[0].train) == 5


def test_one_pair_of_folders_is_split_once_and_for_all(folders):
    root = folders["masks"]
    for part in ("images", "masks"):
        (root / "train" / part).rename(root / part)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "val")
    (root / "classes.json").unlink()
    first, said = read(root, "masks")
    again, _ = read(root, "masks")
    assert (len(first.train), len(first.val)) == (4, 1)
    assert paths(first.val) == paths(again.val)
    assert not set(paths(first.val)) & set(paths(first.train))
    assert any("every fifth" in line for line in said)
    assert first.classes[0] == "class 0"


def spoil_mask(change):
    def spoil(folders):
        path = folders["masks"] / "train" / "masks" / "000001.png"
        change(path)

    return spoil


def test_difficult_objects_count_like_all_others_and_a_line_says_how_many_there_are(folders):
    plain, lines = read(folders["voc"], "boxes")
    assert not any("difficult" in line for line in lines)
    path = next(p for p in sorted((folders["voc"] / "Annotations").glob("val_*")) if "<bndbox>" in p.read_text())
    path.write_text(path.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>", 1))
    marked, lines = read(folders["voc"], "boxes")
    assert [line for line in lines if line.startswith("1 objects of val are difficult")]
    assert [len(e.boxes) for e in marked.val.entries] == [len(e.boxes) for e in plain.val.entries]


MASK = {
    "missing": (spoil_mask(lambda path: path.unlink()), "has no mask"),
    "another size": (spoil_mask(save(np.zeros((9, 8)))), "8x9 pixels, but its image"),
    "out of range": (spoil_mask(save(np.full((24, 24), 7))), "class id 7, but ids go from 0 to 3"),
    "colours": (spoil_mask(save(np.zeros((24, 24, 3)))), "of mode RGB: a mask holds class ids"),
    "a JPEG": (
        lambda f: (
            Image.open(f["masks"] / "train/masks/000001.png")
            .convert("L")
            .save((f["masks"] / "train/masks/000001.png").rename(f["masks"] / "train/masks/000001.jpg"))
        ),
        "is a JPEG, which changes class ids",
    ),
    "0 and 255": (
        lambda f: [save(255 * (np.asarray(Image.open(p)) > 0))(p) for p in (f["masks"] / "train/masks").iterdir()],
        "hold the id 0 alone, since 255 is ignored: write 0 and 1",
    ),
    "no picture": (spoil_mask(lambda path: path.write_text("<html>")), "cannot be decoded"),
    "names": (lambda f: (f["masks"] / "classes.json").write_text("{}"), "no list of class names"),
}
COCO = {
    "outside": (bbox(20, 3, 9, 5), "box [20, 3, 29, 8] lies outside of the image of 24x24"),
    "negative": (bbox(-3, 3, 9, 5), "lies outside"),
    "empty": (bbox(3, 3, 0, 5), "box [3, 3, 3, 8] is empty"),
    "category": (spoil_json(lambda d: d["annotations"][0].update(category_id=9)), "category 9, which is not there"),
    "image": (spoil_json(lambda d: d["annotations"][0].update(image_id=99)), "image 99, which is not there"),
    "file": (spoil_json(lambda d: d["images"][0].update(file_name="x.png")), "x.png, which is not there"),
    "size": (spoil_json(lambda d: d["images"][0].update(width=48)), "24x24 pixels, but its annotations say 48x24"),
    "keys": (
        spoil_json(lambda d: d["annotations"][0].pop("bbox")),
        "no COCO file: bbox of entry 0 in annotations is missing",
    ),
    "no object": (spoil_json(lambda d: d["annotations"].clear()), "no object in train"),
    "no category": (
        lambda f: [
            spoil_json(lambda d: (d["annotations"].clear(), d["categories"].clear()), side)(f) for side in SIDES
        ],
        "no object in train",
    ),
    "nothing to measure": (spoil_json(lambda d: d["annotations"].clear(), "val"), "no object in val"),
    "no side": (lambda f: (f["masks"] / "val" / "annotations.json").unlink(), "val has no annotations.json"),
    "other": (
        spoil_json(lambda d: d["categories"][0].update(name="x")),
        "only in train: x; only in val: blue",
    ),
}
VOC = {
    "outside": (spoil_xml("<xmax>", "<xmax>9"), "lies outside of the image of 24x24"),
    "empty": (spoil_xml("<xmin>", "<xmin>99"), "is empty"),
    "no size": (spoil_xml("<width>24", "<width>"), "width of size is '', no number"),
    "size zero": (spoil_xml("<width>24", "<width>0"), "cannot be read"),
    "other size": (spoil_xml("<width>24", "<width>25"), "24x24 pixels, but its annotations say 25x24"),
    "encoding": (spoil_xml("<annotation>", "<?xml version='1.0' encoding='x'?><annotation>"), "cannot be read"),
    "unclosed": (spoil_xml("</annotation>", ""), "cannot be read"),
    "no number": (spoil_xml("<xmin>", "<xmin>x"), "bndbox/xmin of object is 'x"),
    "class": (spoil_xml("</name>", "s</name>"), "is none of 3"),
    "list": (lambda f: (f["voc"] / "ImageSets" / "Main" / "train.txt").write_text("nobody\n"), "lists nobody"),
    "no list": (lambda f: (f["voc"] / "ImageSets" / "Main" / "val.txt").unlink(), "val.txt cannot be read"),
    "both": (
        lambda f: (f["voc"] / "ImageSets" / "Main" / "val.txt").write_text("train_000001\n"),
        "train_000001 is in train.txt and in val.txt",
    ),
}
VOC_MASK = {
    "missing": (lambda f: voc_mask(f).unlink(), "has no mask"),
    "another size": (lambda f: save(np.zeros((9, 8)))(voc_mask(f)), "8x9 pixels, but its image"),
    "out of range": (lambda f: save(np.full((24, 24), 7))(voc_mask(f)), "class id 7, but ids go from 0 to 3"),
    "twice": (lambda f: voc_list(f).write_text("train_000001\ntrain_000001\n"), "lists train_000001 twice"),
    "foreign letters": (lambda f: voc_list(f).write_bytes(b"caf\xe9\n"), "which is not in"),
    "empty": (lambda f: voc_list(f).write_text("\n"), "no image in train"),
}
BAD = {
    **{f"mask {name}": ("masks", "masks", *bad) for name, bad in MASK.items()},
    **{f"coco {name}": ("masks", "boxes", *bad) for name, bad in COCO.items()},
    **{f"voc {name}": ("voc", "boxes", *bad) for name, bad in VOC.items()},
    **{f"voc mask {name}": ("voc", "masks", *bad) for name, bad in VOC_MASK.items()},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_that_names_it_and_the_check_finds_it_too(name, folders, capsys):
    folder, targets, spoil, text = BAD[name]
    assert check([str(folders[folder])]) == 0, capsys.readouterr().out
    spoil(folders)
    with pytest.raises(DataError) as error:
        read(folders[folder], targets)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    assert check([str(folders[folder])]) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if text in line]


def test_bad_files_are_left_out_where_that_is_asked_for(folders):
    for name, pixels in (("000001", np.full((24, 24), 9)), ("000003", np.zeros((24, 24, 3)))):
        save(pixels)(folders["masks"] / "train" / "masks" / f"{name}.png")
    found, said = read(folders["masks"], "masks", bad_images="skip")
    assert [path.stem for path in paths(found.train)] == ["000000", "000002", "000004"]
    assert len(found.skipped) == 2
    assert sum(line.startswith("skipped:") for line in said) == 2
    lazy, _ = read(folders["masks"], "masks", bad_images="skip", cache="none")
    assert torch.equal(lazy.train.sample(1)[1]["mask"], found.train.sample(1)[1]["mask"])


def test_images_without_objects_are_trained_on_and_the_check_says_so(folders, capsys):
    only = spoil_json(lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] == 1]))
    only(folders)
    spoil_mask(save(np.zeros((24, 24))))(folders)
    found, said = read(folders["masks"], "boxes")
    assert found.train.sample(0)[1]["boxes"].shape == (0, 4)
    assert any("4 images have no object" in line for line in said)
    assert check([str(folders["masks"])]) == 0
    printed = capsys.readouterr().out
    assert printed.count("notice: no object:") == 5


def test_the_check_looks_for_what_there_is_of_vocs_layout(folders, capsys):
    shutil.rmtree(folders["voc"] / "SegmentationClass")
    assert check([str(folders["voc"])]) == 0
    printed = capsys.readouterr().out
    assert "5 images with boxes" in printed
    assert "masks" not in printed
    with pytest.raises(DataError, match="holds neither JPEGImages/ with SegmentationClass/"):
        read(folders["voc"], "masks")


def test_a_layout_that_is_not_what_the_task_reads_is_one_line(folders, tmp_path):
    for data, dataset, targets, text in (
        (tmp_path, "auto", "masks", "holds neither"),
        (tmp_path, "auto", "boxes", "holds neither"),
        (tmp_path / "none", "auto", "masks", "is no folder"),
        (folders["voc"], "digits", "masks", "--dataset digits has no masks"),
        (folders["voc"], "voc", "labels", "--task segment"),
        (folders["masks"], "auto", "labels", "images with masks, which --task segment reads"),
    ):
        with pytest.raises(DataError, match=text):
            read(data, targets, dataset)
