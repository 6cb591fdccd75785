"""MNIST and its kin are prepared as the files that training reads, from packed and from unpacked ones."""

import gzip
import json
from pathlib import Path

import pytest

from data.datasets import find_dataset, load
from data.torchvision_sets import IDX_FILES
from tests.idx import idx, idx_files
from tests.miniature import prepare, refused


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", ["", "usr/share/datasets/fashion-mnist"])
def test_what_is_written_is_what_training_reads(packed, inside, tmp_path, capsys):
    content = idx_files(tmp_path / "source" / inside, packed=packed)
    for flags in ([], ["--force"]):
        assert prepare("fashion_mnist", tmp_path / "source", tmp_path / "out", *flags) == 0
        said = capsys.readouterr().out
        assert "notice: 40 and 20 images found; the official download has 60000 and 10000" in said
        assert f"--data {tmp_path / 'out'} reads them" in said
        for name, array in content.items():
            assert (tmp_path / "out" / "FashionMNIST" / "raw" / name).read_bytes() == idx(array)
    dataset = load(find_dataset(str(tmp_path / "out")), download=False, log=lambda line: None)
    assert (dataset.name, len(dataset.train), len(dataset.val)) == ("fashion_mnist", 40, 20)
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    assert record["totals"] == {"train": 40, "val": 20}
    ending = ".gz" if packed else ""
    assert record["files"]["FashionMNIST/raw"][IDX_FILES[0]] == str(Path(inside, f"{IDX_FILES[0]}{ending}"))


def test_a_foreign_file_is_not_replaced(tmp_path, capsys):
    idx_files(tmp_path / "source")
    assert prepare("mnist", tmp_path / "source", tmp_path / "out") == 0
    assert prepare("mnist", tmp_path / "source", tmp_path / "out") == 2
    (tmp_path / "out" / "MNIST" / "mine.txt").write_text("x")
    capsys.readouterr()
    assert prepare("mnist", tmp_path / "source", tmp_path / "out", "--force") == 2
    refused(capsys, "MNIST/mine.txt")


def cut(folder):
    path = folder / f"{IDX_FILES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-100])


def cut_inside(folder):
    path = folder / f"{IDX_FILES[0]}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))


def second(folder):
    idx_files(folder / "more")


def labels_of_the_other_side(folder):
    (folder / f"{IDX_FILES[3]}.gz").rename(folder / f"{IDX_FILES[1]}.gz")
    (folder / f"{IDX_FILES[3]}").write_bytes(idx(idx_files(folder / "tmp")[IDX_FILES[3]]))
    for path in (folder / "tmp").iterdir():
        path.unlink()


def no_digits(folder):
    (folder / IDX_FILES[1]).write_bytes(idx(idx_files(folder, packed=True)[IDX_FILES[1]] // 2))


def other_size(folder):
    idx_files(folder, packed=True, side=14)


FAULTS = [
    (cut, "is damaged"),
    (cut_inside, "is no whole idx file of bytes with 3 axes"),
    (second, "lies in several folders"),
    (labels_of_the_other_side, "does not hold 40 labels"),
    (no_digits, "holds labels other than 0 to 9"),
    (other_size, "holds images of 14 x 14"),
    (lambda folder: (folder / f"{IDX_FILES[2]}.gz").unlink(), f"with or without .gz: {IDX_FILES[2]}"),
    (lambda folder: (folder / f"{IDX_FILES[0]}.gz").unlink(), f"no {IDX_FILES[0]}, with or without .gz"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_files_that_do_not_fit_are_refused_in_one_line(fault, said, tmp_path, capsys):
    idx_files(tmp_path / "source", packed=True)
    fault(tmp_path / "source")
    assert prepare("fashion_mnist", tmp_path / "source", tmp_path / "out") == 2
    refused(capsys, said)
    assert not (tmp_path / "out").exists()
