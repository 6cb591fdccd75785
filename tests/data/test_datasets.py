import pickle
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from data.datasets import find_dataset, load, num_outputs
from data.decoding import DataError
from data.loaders import make_loader
from data.presets import CIFAR10, CIFAR100, IMAGENET


def save(path, size=(40, 41), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def folder(root, classes=("a", "b"), each=3, size=(40, 41)):
    for seed, name in enumerate(classes):
        for side in ("train", "val"):
            for i in range(each):
                save(root / side / name / f"{i}.png", size, seed=100 * seed + i)
    return root


def find(root, *args, **options):
    return find_dataset(str(root), *args, **options)


def read(source, **options):
    return load(source, **{"log": lambda line: None, **options})


@pytest.mark.parametrize(
    ("name", "inside", "expected"),
    [
        ("anything", "cifar-10-batches-py", "cifar10"),
        ("anything", "cifar-100-python", "cifar100"),
        ("cifar-10-batches-py", "x", "cifar10"),
        ("cifar-100-python", "x", "cifar100"),
        ("CIFAR-100", None, "cifar100"),
        ("cifar10", None, "cifar10"),
        ("my_cifar", None, "cifar10"),
    ],
)
def test_roots_of_cifar(tmp_path, name, inside, expected):
    if inside is None:
        assert find(tmp_path / name).name == expected  # does not exist yet
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name / inside).mkdir(parents=True)
    assert find(tmp_path / name).name == expected
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / f"{expected.replace('r1', 'r-1')}-python.tar.gz").write_bytes(b"half")
    assert find(tmp_path / "archive").name == expected


def test_a_folder_is_recognised_before_its_name_and_can_be_overruled(tmp_path):
    root = folder(tmp_path / "cifar10")
    assert find(root).classes == ("a", "b")
    assert len(find(root, "cifar10").classes) == 10
    assert find("digits").name == "digits"
    with pytest.raises(DataError, match="train"):
        find("digits", "folder")


def test_what_is_no_data_set_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "only" / "train" / "a").mkdir(parents=True)
    reasons = {"nowhere": "does not exist", "only": "has no folder val/"}
    for name, reason in (reasons | dict.fromkeys(("file", "empty", "other"), "holds neither")).items():
        with pytest.raises(DataError, match=reason) as error:
            find(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="is a file"):
        find(tmp_path / "file", "cifar10")
    with pytest.raises(DataError, match="no such home"):
        find_dataset("~nobody-of-that-name/data")


def test_class_indices_come_from_train(tmp_path):
    dataset = read(find(folder(tmp_path, ("zebra", "Ant", "bee"), each=2)), cache="ram")
    assert dataset.classes == ("Ant", "bee", "zebra")
    for side in (dataset.train, dataset.val):
        assert side.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(dataset.train.pixels, dataset.val.pixels)


@pytest.mark.parametrize("side", ["train", "val"])
def test_unequal_or_empty_classes_are_refused_by_name(tmp_path, side):
    root = folder(tmp_path)
    for extra in ("c", "d"):
        save(root / side / extra / "x.png")
    with pytest.raises(DataError, match=rf"2 classes in {side}/ but not in .*: c, d"):
        find(root)
    root = folder(tmp_path / "second")
    for other in ("train", "val"):
        save(root / other / "hollow" / "x.png")
    (root / side / "hollow" / "x.png").rename(root / side / "hollow" / "x.txt")
    with pytest.raises(DataError, match=rf"{side}: 1 classes without images: hollow"):
        find(root)


def test_a_flat_folder_is_refused(tmp_path):
    save(tmp_path / "train" / "x.png")
    with pytest.raises(DataError, match="train has no class folders"):
        find(tmp_path)


def test_hidden_nested_and_loose_entries_get_one_notice_each(tmp_path):
    root = folder(tmp_path)
    for path in (".ipynb_checkpoints/x.png", "__MACOSX/x.png", ".git/x.png", "a/._0.png"):
        save(root / "train" / path)
    (root / "train" / "a" / "Thumbs.db").write_bytes(b"")
    save(root / "val" / "a" / "test" / "x.png")
    (root / "val" / "b" / "notes.txt").write_text("x")
    save(root / "train" / "stray.png")
    source = find(root)
    lines = []
    dataset = load(source, log=lines.append)
    assert (dataset.classes, len(dataset.train), len(dataset.val)) == (("a", "b"), 6, 6)
    (notice,) = [line for line in lines if line.startswith("left out 8 ")]
    assert all(name in notice for name in ("train/stray.png", "val/a/test", "val/b/notes.txt", "train/__MACOSX"))


def test_num_outputs():
    source, lines = find_dataset("digits"), []
    assert num_outputs(source, None, lines.append) == num_outputs(source, 10, lines.append) == 10 + len(lines)
    assert num_outputs(source, 30, lines.append) == 30
    (warning,) = lines
    assert "30 is more than the 10 classes" in warning
    with pytest.raises(DataError, match="9 is less than the 10 classes"):
        num_outputs(source, 9, lines.append)


def test_a_single_class_is_read_with_a_warning(tmp_path):
    lines = []
    assert num_outputs(find(folder(tmp_path / "set", classes=("only",))), None, lines.append) == 1
    (warning,) = lines
    assert warning.startswith("warning: set has a single class (only)")


def test_the_digits_are_fixed_stratified_and_of_the_announced_size():
    from sklearn.datasets import load_digits

    source, original = find_dataset("digits"), load_digits()
    dataset, again = read(source), read(source)
    assert (len(dataset.train), len(dataset.val)) == (1438, 359)
    assert dataset.train.pixels.shape == (1438, 3, 32, 32)
    assert torch.equal(dataset.val.pixels, again.val.pixels)
    shares = torch.bincount(dataset.val.labels) / torch.bincount(torch.from_numpy(original.target))
    assert (shares - 0.2).abs().max() < 0.01
    small = read(find_dataset("digits", image_size=8))
    both = torch.cat([small.train.pixels, small.val.pixels])
    assert (both == both[:, :1]).all()
    expected = (original.images * (255 / 16)).round().astype(np.uint8)
    assert sorted(map(bytes, both[:, 0].numpy())) == sorted(map(bytes, expected))
    assert dataset.preset.mean == pytest.approx([dataset.train.pixels.double().mean().item() / 255] * 3, abs=1e-4)


@pytest.mark.parametrize(
    ("size", "asked", "shown", "is_small"),
    [((64, 64), None, 64, True), ((65, 65), None, 224, False), ((40, 41), None, 224, False)]
    + [((40, 41), 32, 32, True), ((20, 20), 96, 96, False)],
)
def test_the_preset_fits_the_images(tmp_path, size, asked, shown, is_small):
    source = find(folder(tmp_path, size=size), image_size=asked)
    preset = source.preset
    assert (preset.image_size, preset.is_small) == (shown, is_small)
    assert (preset.mean, preset.std) == ((None, None) if is_small else IMAGENET)
    assert preset.cutout == (shown // 2 if is_small else 0)
    assert read(source, cache="ram").train.pixels.shape[1:] == (3, preset.decoded_size, preset.decoded_size)


def test_sizes_and_cutout_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(DataError, match="7 is below 8"):
        find_dataset("digits", image_size=7)
    with pytest.raises(DataError, match="cutout is for small images"):
        find(folder(tmp_path), cutout=16)
    assert find(tmp_path, cutout=0).preset.cutout == 0, "what turns something off is always allowed"


def test_statistics_are_those_of_the_training_images(tmp_path):
    root = folder(tmp_path, size=(16, 16))
    for path in (root / "val").rglob("*.png"):
        Image.new("RGB", (16, 16)).save(path)
    dataset = read(find(root))
    values = np.stack([np.asarray(Image.open(path)) for path in (root / "train").rglob("*.png")]) / 255
    assert dataset.preset.mean == pytest.approx(values.mean((0, 1, 2)), abs=1e-4)
    assert dataset.preset.std == pytest.approx(values.std((0, 1, 2)), abs=1e-4)
    assert dataset.facts()["statistics"]["mean"] == list(dataset.preset.mean)


def test_the_cache_changes_where_pixels_are_and_not_what_they_are(tmp_path, monkeypatch):
    source, batches = find(folder(tmp_path), image_size=70), {}
    for cache in ("none", "ram", "auto"):
        dataset = read(source, cache=cache)
        assert (dataset.train.pixels is None) == (cache == "none")
        options = {"batch_size": 4, "device": torch.device("cpu"), "seed": 0, "stream": "x"}
        loader = make_loader(dataset.train, dataset.preset, augment=True, shuffle=True, **options)
        batches[cache] = torch.cat([batch.images for batch in loader])
    assert torch.equal(batches["none"], batches["ram"])


def test_cifar_is_read_with_its_names_from_either_folder(tmp_path, monkeypatch):
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    rows, names = np.random.default_rng(0).integers(0, 255, (60, 3, 32, 32), dtype=np.uint8), [*"jihgfedcba"]
    (inner / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        part = {"data": rows[10 * k : 10 * k + 10].reshape(10, -1), "labels": list(range(10))}
        (inner / name).write_bytes(pickle.dumps(part))
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)  # only of their checksums
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", None)
    for root in (tmp_path, inner):
        dataset = read(find(root), download=False)
        assert dataset.classes == tuple(names)
        assert torch.equal(dataset.train.pixels, torch.from_numpy(rows[:50]))
        assert torch.equal(dataset.val.pixels, torch.from_numpy(rows[50:]))
        assert dataset.train.labels.tolist() == [*range(10)] * 5
    assert read(find(inner, image_size=48), download=False).val.pixels.shape == (10, 3, 48, 48)


@pytest.mark.parametrize(("name", "statistics"), [("cifar10", CIFAR10), ("cifar100", CIFAR100)])
def test_a_download_that_fails_says_so_in_one_line(tmp_path, monkeypatch, name, statistics):
    def no_network(*args, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    before, source = socket.getdefaulttimeout(), find(tmp_path / name)
    assert (source.preset.mean, source.preset.std) == statistics
    with pytest.raises(DataError, match="missing or damaged"):
        read(source, download=False)
    with pytest.raises(DataError, match=f"{name} could not be downloaded to .*Name or service") as error:
        read(source)
    assert "\n" not in str(error.value)
    assert socket.getdefaulttimeout() == before
