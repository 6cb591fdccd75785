"""One line for every JSON of COCO that is not what it should be."""

import pytest

from data.check import main as check
from data.decoding import DataError
from tests.spoiling import read, spoil_json


def first(part, **values):
    return spoil_json(lambda document: document[part][0].update(values))


def again(part, **values):
    return spoil_json(lambda document: document[part].append({**document[part][0], **values}))


BAD_FILES = {
    "list": (lambda f: (f["masks"] / "train" / "annotations.json").write_text("[1, 2]"), "it has no list of images"),
    "part": (spoil_json(lambda d: d.update(annotations={})), "no COCO file: it has no list of annotations"),
    "entry": (spoil_json(lambda d: d.update(images=[5])), "no COCO file: id of entry 0 in images"),
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


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_input_is_one_line_and_the_check_finds_it_too(name, folders, capsys):
    spoil, text = BAD_FILES[name]
    spoil(folders)
    with pytest.raises(DataError) as error:
        read(folders["masks"], "boxes")
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    assert check([str(folders["masks"])]) == 1
    assert text in capsys.readouterr().out


def test_what_is_no_json_is_one_line(folders):
    path = folders["masks"] / "train" / "annotations.json"
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match="no COCO file"):
            read(folders["masks"], "boxes")


@pytest.mark.parametrize("box", [[1, 2, 3], "box", [1, 2, None, 4], [1, 2, float("inf"), 4], [1, 2, 10**400, 4]])
def test_a_box_that_is_none_is_one_line(box, folders):
    spoil_json(lambda d: d["annotations"][0].update(bbox=box))(folders)
    with pytest.raises(DataError, match=r"bbox of entry 0 in annotations is .*, and not four numbers"):
        read(folders["masks"], "boxes")


def test_ids_may_be_texts_and_need_not_count_on(folders):
    before = read(folders["masks"], "boxes")[0].train.entries

    def renumber(document):
        for entry in document["categories"]:
            entry["id"] *= 7
        for entry in document["annotations"]:
            entry["category_id"] *= 7
            entry["image_id"] = f"no. {entry['image_id']}"
        for entry in document["images"]:
            entry["id"] = f"no. {entry['id']}"

    for side in ("train", "val"):
        spoil_json(renumber, side)(folders)
    after = read(folders["masks"], "boxes")[0].train.entries
    assert [entry.boxes.tolist() for entry in after] == [entry.boxes.tolist() for entry in before]


def test_crowds_are_left_out_of_boxes_and_counted(folders):
    before = read(folders["masks"], "boxes")[0].train.entries[0].boxes
    spoil_json(lambda d: d["annotations"].insert(0, {**d["annotations"][0], "iscrowd": 1}))(folders)
    dataset, said = read(folders["masks"], "boxes")
    assert dataset.train.entries[0].boxes.tolist() == before.tolist()
    assert any("left out 1 crowds in" in line for line in said)
