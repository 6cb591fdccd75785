"""One line for every JSON of COCO that is not what it should be."""

from importlib.util import find_spec

import pytest

from data.check import main as check
from data.decoding import DataError
from tests.outlined import SIZE, change, objects, read, square

if find_spec("pycocotools") is None:
    pytest.skip("masks from COCO's JSON need pycocotools", allow_module_level=True)


def counts(value, size=(SIZE, SIZE)):
    return objects({"segmentation": {"size": list(size), "counts": value}})


BAD_OUTLINES = {
    "none": (objects({"segmentation": None}), "annotation 0 of"),
    "empty": (objects({"segmentation": []}), "it has no outline (segmentation)"),
    "text": (objects({"segmentation": "here"}), "neither polygons nor runs"),
    "flat": (objects({"segmentation": [1, 2, 3, 4, 5, 6]}), "neither polygons nor runs"),
    "two corners": (objects({"segmentation": [[1, 2, 3, 4]]}), "a polygon has 4 numbers"),
    "odd": (objects({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}), "a polygon has 7 numbers"),
    "letters": (objects({"segmentation": [[1, 2, "x", 4, 5, 6]]}), "a polygon holds what is no number"),
    "nan": (objects({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}), "a polygon holds what is no number"),
    "huge": (objects({"segmentation": square(1, 1, 10**8, 5)}), "reaches out of the image of 24x24"),
    "negative": (objects({"segmentation": square(-9, 1, 4, 5)}), "reaches out of the image"),
    "no counts": (objects({"segmentation": {"size": [SIZE, SIZE]}}), "has no counts"),
    "few counts": (counts([5]), "do not fill the image of 24x24"),
    "negative counts": (counts([-1, 577]), "do not fill the image"),
    "wrong counts": (counts([[1], "x"]), "do not fill the image"),
    "huge counts": (counts([10**30]), "do not fill the image"),
    "wrong letters": (counts("\x01\x02"), "do not fill the image"),
    "open letters": (counts("ooo"), "do not fill the image"),
    "endless letters": (counts("o" * 30 + "0"), "do not fill the image"),
    "foreign letters": (counts("ää"), "do not fill the image"),
    "other size": (counts([SIZE * SIZE], (SIZE, 2)), "do not fill the image"),
    "no size": (objects({"segmentation": {"counts": [SIZE * SIZE], "size": 3}}), "do not fill the image"),
    "stated size": (lambda d: d["images"][0].update(width=25), "its runs do not fill the image of 25x24"),
}


def first(part, **values):
    return lambda document: document[part][0].update(values)


def again(part, **values):
    return lambda document: document[part].append({**document[part][0], **values})


BAD_FILES = {
    "list": (lambda _d: [1, 2], "no COCO file: it has no list of images"),
    "part": (lambda d: d.update(annotations={}), "no COCO file: it has no list of annotations"),
    "entry": (lambda d: d.update(images=[5]), "no COCO file: id of entry 0 in images"),
    "id": (first("images", id=[1]), "id of entry 0 in images is [1], and not a whole number or a text"),
    "name": (first("images", file_name=None), "file_name of entry 0 in images is None, and not a text"),
    "width": (first("images", width="wide"), "width of entry 0 in images"),
    "no width": (first("images", width=0), "width of entry 0 in images"),
    "category": (first("annotations", category_id={}), "category_id of entry 0 in annotations"),
    "class": (first("categories", name=3), "name of entry 0 in categories"),
    "unknown image": (first("annotations", image_id="0"), "is of the image 0, which is not there"),
    "twice an image": (again("images", file_name="other.png"), "has the id 0 twice in images"),
    "twice a file": (again("images", id=77), "000000.png twice"),
    "crowd": (first("annotations", iscrowd="0"), "iscrowd of entry 0 in annotations is '0', and not 0 or 1"),
    "twice a class": (again("categories", id=77), "has the name blue twice in categories"),
    "elsewhere": (first("images", file_name="/etc/hostname"), "/etc/hostname, which is not there"),
    "nul": (first("images", file_name="a\0b"), "which is not there"),
}


@pytest.mark.parametrize("name", [*BAD_OUTLINES, *BAD_FILES])
def test_bad_input_is_one_line_and_the_check_finds_it_too(name, coco, capsys):
    what, text = {**BAD_OUTLINES, **BAD_FILES}[name]
    change(coco, what)
    with pytest.raises(DataError) as error:
        read(coco)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    assert check([str(coco)]) == 1
    assert name in ("none", "empty") or text in capsys.readouterr().out


def test_what_is_no_json_is_one_line(coco):
    path = coco / "train" / "annotations.json"
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match="no COCO file"):
            read(coco)


@pytest.mark.parametrize("box", [[1, 2, 3], "box", [1, 2, None, 4], [1, 2, float("inf"), 4], [1, 2, 10**400, 4]])
def test_a_box_that_is_none_is_one_line(box, coco):
    for side in ("train", "val"):
        change(coco, lambda document: [e.update(bbox=[1, 1, 2, 2]) for e in document["annotations"]] and None, side)
    change(coco, first("annotations", bbox=box))
    with pytest.raises(DataError, match=r"bbox of entry 0 in annotations is .*, and not four numbers"):
        read(coco, "boxes")
