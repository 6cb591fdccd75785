import shutil
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from torchvision import datasets

from data.datasets import find_dataset, load
from data.decoding import DataError
from data.torchvision_sets import IDX_FILES, TORCHVISION
from tests.idx import idx, idx_files, svhn_files

KINDS = {"fashion_mnist": "FashionMNIST", "mnist": "MNIST", "kmnist": "KMNIST"}


def find(root, *args, **options):
    return find_dataset(str(root), *args, **options)


def read(source):
    return load(source, download=False, log=lambda line: None)


@pytest.mark.parametrize(("name", "folder"), KINDS.items())
def test_gray_images_get_a_border_and_three_equal_channels_from_each_folder_that_is_given(tmp_path, name, folder):
    content = idx_files(tmp_path / folder / "raw")
    for root in (tmp_path, tmp_path / folder, tmp_path / folder / "raw"):
        dataset = read(find(root))
        assert dataset.name == name
        for side, part in ((dataset.train, 0), (dataset.val, 2)):
            images = torch.from_numpy(content[IDX_FILES[part]])
            assert side.pixels.shape == (len(images), 3, 32, 32)
            assert torch.equal(side.pixels[:, :, 2:30, 2:30], images[:, None].expand(-1, 3, -1, -1))
            assert side.pixels.sum() == 3 * images.sum()  # so the border is zero
            assert side.labels.tolist() == content[IDX_FILES[part + 1]].tolist()
    plain = read(find(tmp_path, image_size=28)).train.pixels
    assert torch.equal(plain, dataset.train.pixels[:, :, 2:30, 2:30])
    assert read(find(tmp_path, image_size=48)).train.pixels.shape[1:] == (3, 48, 48)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("old", ["-idx", ".idx"])
def test_the_four_files_are_read_in_any_folder_as_unpackers_leave_them(tmp_path, packed, old):
    content = idx_files(tmp_path / "fashion-mnist", packed=packed)
    for path in list((tmp_path / "fashion-mnist").iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", old)))
    dataset = read(find(tmp_path / "fashion-mnist"))
    assert (dataset.name, len(dataset.train), len(dataset.val)) == ("fashion_mnist", 40, 20)
    assert torch.equal(dataset.val.labels, torch.from_numpy(content[IDX_FILES[3]]).long())
    assert read(find(tmp_path / "fashion-mnist", "kmnist")).name == "kmnist"


def test_house_numbers_are_read_with_zero_as_the_first_class(tmp_path, monkeypatch):
    content = svhn_files(tmp_path)
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)  # only of their checksums
    dataset = read(find(tmp_path))
    assert (dataset.name, dataset.classes) == ("svhn", tuple("0123456789"))
    assert dataset.train.labels.tolist() == [*range(1, 10), 0] * 3
    for side, part in ((dataset.train, "train"), (dataset.val, "test")):
        assert torch.equal(side.pixels, torch.from_numpy(content[part].transpose(3, 2, 0, 1).copy()))


@pytest.mark.parametrize(("name", "known"), TORCHVISION.items())
def test_the_table_agrees_with_torchvision_and_only_what_may_be_mirrored_is(tmp_path, name, known):
    cls = getattr(datasets, known.torch_class)
    if known.is_idx:
        assert [file for file, _md5 in cls.resources] == [f"{file}.gz" for file in known.files]
    if name in ("fashion_mnist", "kmnist"):
        assert tuple(cls.classes) == known.classes
    source = find(tmp_path / name, name)
    assert source.preset.flip == (name in ("cifar10", "cifar100", "fashion_mnist"))
    assert (source.preset.mean, source.preset.std) == known.statistics
    assert (source.preset.image_size, len(source.classes)) == (32, len(known.classes))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fashion-mnist", "fashion_mnist"), ("FashionMNIST", "fashion_mnist"), ("my_mnist", "mnist"), ("KMNIST", "kmnist")]
    + [("svhn", "svhn"), ("SVHN_32", "svhn"), ("emnist", None), ("photos", None)],
)
def test_a_folder_to_download_to_is_known_by_its_name(tmp_path, name, expected):
    for _ in ("absent", "empty"):
        if expected is None:
            with pytest.raises(DataError, match="Fashion-MNIST, KMNIST or SVHN"):
                find(tmp_path / name)
        else:
            assert find(tmp_path / name).name == expected
        (tmp_path / name).mkdir(exist_ok=True)


def test_several_sets_in_one_root_are_told_apart_by_the_flag_only(tmp_path):
    for folder in ("MNIST", "FashionMNIST"):
        idx_files(tmp_path / folder / "raw")
    with pytest.raises(DataError, match=r"holds fashion_mnist and mnist: --dataset says which") as error:
        find(tmp_path)
    assert "cannot be read" not in str(error.value)
    assert read(find(tmp_path, "mnist")).name == "mnist"
    assert find(tmp_path / "MNIST").name == "mnist"


@pytest.mark.parametrize("name", [name for name in TORCHVISION if not name.startswith("cifar")])
def test_without_a_network_one_line_says_which_files_to_put_where(tmp_path, monkeypatch, name):
    def no_network(*args, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    known, before = TORCHVISION[name], socket.getdefaulttimeout()
    for options, kind, what in (({"download": False}, DataError, "missing"), ({}, DataError, "Name or service")):
        with pytest.raises(kind, match=what) as error:
            load(find(tmp_path / "x", name), log=lambda line: None, **options)
        line = str(error.value)
        assert "\n" not in line
        assert str(tmp_path / "x" / known.folder) in line
        assert all(file in line for file in known.files)
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        (IDX_FILES[0], lambda data: data[:-1], "no whole idx file.*remove it"),
        (IDX_FILES[0], lambda data: b"", "no whole idx file.*remove it"),
        (IDX_FILES[1], lambda data: idx(np.arange(39) % 10), "40 images, but labels of the shape"),
        (IDX_FILES[1], lambda data: idx(np.arange(40) % 11), "labels from 0 to 10, not below 10"),
        (IDX_FILES[0], lambda data: idx(np.zeros((40, 14, 14))), r"\(14, 14\), not 28x28"),
        (IDX_FILES[3], lambda data: idx(np.arange(20) % 9), "class 'Ankle boot' has no image left in val"),
    ],
)
def test_damaged_files_are_refused_and_stay(tmp_path, file, damage, said):
    idx_files(tmp_path / "FashionMNIST" / "raw")
    path = tmp_path / "FashionMNIST" / "raw" / file
    path.write_bytes(damage(path.read_bytes()))
    kept = path.read_bytes()
    with pytest.raises(DataError, match=said) as error:
        load(find(tmp_path), log=lambda line: None)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == kept


def test_the_fingerprint_is_of_the_content_wherever_it_lies(tmp_path):
    raw = tmp_path / "a" / "MNIST" / "raw"
    idx_files(raw)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = read(find(tmp_path / "a")).fingerprint
    assert read(find(tmp_path / "b", image_size=28)).fingerprint == first
    for file in (IDX_FILES[0], IDX_FILES[2]):
        data = bytearray((raw / file).read_bytes())
        data[100] ^= 1
        (raw / file).write_bytes(data)
        assert read(find(tmp_path / "a")).fingerprint != first
        first = read(find(tmp_path / "a")).fingerprint
