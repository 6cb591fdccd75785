"""Rotations in place of labels: what is shown is what the answer says, of the images that there were anyway."""

import pytest
import torch
from PIL import Image

from data.datasets import find_dataset, load
from data.images import Images
from data.loaders import make_loader
from data.presets import IMAGENET, small
from engine.tasks import TASKS
from engine.tasks.pretext import Rotation, RotationLoader, rotations

PRESET = small(32, IMAGENET)


def test_rotating_back_by_the_answer_gives_the_image():
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    turned, answers = rotations(images)
    assert sorted(answers.tolist()) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for i, (image, answer) in enumerate(zip(turned, answers.tolist(), strict=True)):
        assert torch.equal(image.rot90(-answer, (1, 2)), images[i % 5])


# The loader


def loader(task, n=23, **changes):
    options = {"batch_size": 5, "device": torch.device("cpu"), "seed": 1, "stream": "s", "augment": True}
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    images = Images(torch.zeros(n, dtype=torch.long), 32, pixels)
    made = make_loader(images, PRESET, **{**options, "shuffle": True, **changes})
    return TASKS[task].wrap(made)


@pytest.mark.parametrize("augment", [False, True])
def test_each_batch_is_that_of_the_data_in_four_rotations(augment):
    asking, plain = loader("rotation", augment=augment), loader("classify", augment=augment)
    for epoch, start in ((0, 0), (3, 2)):
        asking.set_epoch(epoch, start)
        plain.set_epoch(epoch, start)
        for turned, batch in zip(asking, plain, strict=True):
            n = len(batch.images)
            assert torch.equal(turned.labels, torch.arange(4).repeat_interleave(n))
            for k, views in enumerate(turned.images.split(n)):
                assert torch.equal(views, batch.images.rot90(k, (2, 3)))


def test_sizes_are_those_of_the_data_but_for_what_a_network_sees_at_least():
    asking = loader("rotation")
    assert isinstance(asking, RotationLoader)
    assert (len(asking), asking.num_images, asking.first_batch) == (5, 23, 5)
    assert asking.smallest_batch == 4 * asking.loader.smallest_batch
    assert not isinstance(loader("classify"), RotationLoader)


# The data


@pytest.mark.parametrize("name", ["digits", "MNIST", "kmnist", "svhn"])
def test_rotations_of_signs_are_warned_of(name, tmp_path):
    source = find_dataset(name if name == "digits" else str(tmp_path / name))
    text = Rotation.warning(source.name, source.preset)
    assert text.count("\n") == 0
    assert source.name in text


def folder(root):
    """An image folder; its images are all different, and equal names are of equal size."""
    for s, side in enumerate(("train", "val")):
        for c, label in enumerate(("a", "b")):
            (root / side / label).mkdir(parents=True)
            for i in range(3):
                value = 100 * s + 30 * c + 9 * i
                Image.new("RGB", (12, 12), (value, value // 2, 7)).save(root / side / label / f"{i}.bmp")
    return root


def test_other_data_are_not_warned_of(tmp_path):
    for name in ("fashion-mnist", "cifar10"):
        source = find_dataset(str(tmp_path / name))
        assert Rotation.warning(source.name, source.preset) is None


def test_without_labels_images_come_in_the_same_order_whatever_class_they_lie_in(tmp_path):
    root = folder(tmp_path / "data")

    def shown():
        data = load(find_dataset(str(root)), labels=False, log=lambda line: None)
        assert not data.train.labels.any()
        assert not data.val.labels.any()
        return data.train.pixels, data.val.pixels

    before = shown()
    for side in ("train", "val"):
        a, b = root / side / "a", root / side / "b"
        (a / "0.bmp").rename(root / "kept")
        (b / "0.bmp").rename(a / "0.bmp")
        (root / "kept").rename(b / "0.bmp")
    assert all(torch.equal(x, y) for x, y in zip(before, shown(), strict=True))
    assert not torch.equal(load(find_dataset(str(root)), log=lambda line: None).train.pixels, before[0])
