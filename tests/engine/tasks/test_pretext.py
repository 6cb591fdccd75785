"""Questions that need no labels: what is shown is what the answer says, and depends on the image alone."""

import pytest
import torch
from PIL import Image

from data.datasets import find_dataset, load
from data.images import Images
from data.loaders import make_loader
from data.presets import IMAGENET, small
from engine.tasks import PRETEXTS, TASKS
from engine.tasks.pretext import (
    GRAY,
    LUMA,
    ORDERS,
    Jigsaw,
    PretextLoader,
    Rotation,
    by_itself,
    cut,
    grayed,
    tile_side,
)

PRESET = small(32, IMAGENET)


def coordinates(n=1, side=32):
    """Images whose first two channels are the row and the column of each pixel, and whose third is their number."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    pixels = torch.stack([rows, columns, torch.zeros_like(rows)]).float().expand(n, -1, -1, -1).clone()
    pixels[:, 2] += torch.arange(n)[:, None, None]
    return pixels


def choices(n, seed=0, side=32):
    return Jigsaw.draw(n, side, torch.Generator().manual_seed(seed))


def test_rotating_back_by_the_answer_gives_the_image():
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    turned, answers = Rotation.ask(images)
    assert sorted(answers.tolist()) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for i, (image, answer) in enumerate(zip(turned, answers.tolist(), strict=True)):
        assert torch.equal(image.rot90(-answer, (1, 2)), images[i % 5])


@pytest.mark.parametrize("side", [9, 28, 32, 64, 224])
def test_tiles_lie_where_they_were_drawn_each_in_its_patch(side):
    n, t, patch = 50, tile_side(side), side // 2
    _, place, _ = choices(n, side=side)
    tiles = cut(coordinates(n, side), place)
    assert tiles.shape == (n, 4, 3, t, t)
    for number, (row, column) in enumerate([(0, 0), (0, patch), (patch, 0), (patch, patch)]):
        own = tiles[:, number]
        assert torch.equal(own[:, 2, 0, 0], torch.arange(n).float()), "of the right image"
        assert torch.equal(own[:, 0, 0, 0] - row, place[:, number, 0].float())
        assert torch.equal(own[:, 1, 0, 0] - column, place[:, number, 1].float())
        assert ((own[:, 0] >= row) & (own[:, 0] < row + patch)).all()
        assert ((own[:, 1] >= column) & (own[:, 1] < column + patch)).all()
        assert torch.equal(own[:, 0, :, 0].diff(dim=1), torch.ones(n, t - 1))
        assert torch.equal(own[:, 1, 0].diff(dim=1), torch.ones(n, t - 1))
    if side >= 28:
        assert place.amax() == patch - t
        assert len(place.unique()) == patch - t + 1


def test_a_tile_is_0_76_of_its_patch():
    assert [tile_side(side) for side in (32, 64, 224)] == [12, 24, 85]
    assert [TASKS[name].input_side(32) for name in ("classify", "rotation", "jigsaw")] == [32, 32, 12]


def test_each_of_the_24_orders_is_told_apart_and_undone_by_its_answer():
    images, (_, place, gray) = coordinates(24) + 1, choices(24)
    images += torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    order, place, gray = torch.arange(24), place[:1].expand(24, -1, -1), torch.zeros_like(gray)
    images = images[:1].expand(24, -1, -1, -1)
    shown, answers = Jigsaw.ask(images, (order, place, gray), PRESET)
    assert torch.equal(answers, order)
    assert shown.shape == (96, 3, 12, 12)
    assert len({tuple(row.flatten().tolist()) for row in shown.unflatten(0, (24, 4))}) == 24
    plain = by_itself(cut(images, place))
    for i, tiles in enumerate(shown.unflatten(0, (24, 4))):
        assert torch.equal(tiles[ORDERS[i].argsort()], plain[i])


def test_orders_and_gray_are_drawn_evenly():
    order, _, gray = choices(24_000)
    assert order.bincount(minlength=24).min() > 800
    assert gray.float().mean().item() == pytest.approx(GRAY, abs=0.01)


def test_a_tile_is_normalised_by_itself_and_one_without_variation_is_zero():
    tiles = 5 + 3 * torch.randn(2, 4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    tiles[0, 1] = 0.7
    own = by_itself(tiles)
    assert torch.equal(own[0, 1], torch.zeros(3, 12, 12))
    others = own.flatten(0, 1)[[0, 2, 3, 4, 5, 6, 7]]
    torch.testing.assert_close(others.mean((2, 3)), torch.zeros(7, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(others.std((2, 3), unbiased=False), torch.ones(7, 3))
    torch.testing.assert_close(by_itself(10 * tiles - 4), own, atol=1e-4, rtol=1e-4)


def test_gray_is_the_luma_of_the_pixels():
    pixels = torch.rand(3, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    gray = torch.tensor([[True, False, False, True]]).expand(3, -1)
    found = by_itself(grayed((pixels - mean) / std, gray, PRESET))
    luma = (pixels * torch.tensor(LUMA)[:, None, None]).sum(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(found[gray], by_itself(luma)[gray], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[~gray], by_itself(pixels)[~gray], atol=1e-4, rtol=1e-4)


# The loader


def loader(task, n=23, **changes):
    options = {"batch_size": 5, "device": torch.device("cpu"), "seed": 1, "stream": "s", "augment": True}
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    images = Images(torch.zeros(n, dtype=torch.long), 32, pixels)
    made = make_loader(images, PRESET, **{**options, "shuffle": True, **changes})
    return TASKS[task].wrap(made)


def questions(loader, epoch=0, start=0):
    """Each image's question and answers, by the position of the image."""
    loader.set_epoch(epoch, start)
    found = {}
    for positions, batch in zip(loader.loader.positions(), loader, strict=True):
        n = len(positions)
        if len(batch.labels) == n:  # jigsaw: tiles of an image in a row
            views, answers = batch.images.unflatten(0, (n, 4)), batch.labels
        else:
            views, answers = batch.images.unflatten(0, (4, n)).transpose(0, 1), batch.labels.view(4, n).T
        found |= {p: (v, a) for p, v, a in zip(positions.tolist(), views, answers, strict=True)}
    return found


def same(left, right):
    keys = left.keys() & right.keys()
    return keys and all(torch.equal(a, b) for k in keys for a, b in zip(left[k], right[k], strict=True))


@pytest.mark.parametrize("task", PRETEXTS)
def test_a_question_that_scores_depends_on_the_image_alone(task):
    plain = questions(loader(task, augment=False))
    assert len(plain) == 23
    assert same(plain, questions(loader(task, augment=False), epoch=7))
    assert same(plain, questions(loader(task, augment=False, batch_size=9)))
    halves = [questions(loader(task, augment=False, rank=rank, world_size=2)) for rank in range(2)]
    assert halves[0].keys() | halves[1].keys() == plain.keys()
    assert all(same(plain, half) for half in halves)


@pytest.mark.parametrize("task", PRETEXTS)
def test_a_question_that_trains_is_another_one_each_epoch_and_the_same_again_on_resume(task):
    first = questions(loader(task))
    assert not same(first, questions(loader(task), epoch=1))
    assert same(first, questions(loader(task), start=3))
    pairs = [questions(loader(task, batch_size=10)), questions(loader(task, rank=1, world_size=2))]
    assert same(*pairs)
    if task == "jigsaw":
        assert [a for _, a in first.values()] != [a for _, a in questions(loader(task, seed=2)).values()]


def test_sizes_are_those_of_the_data_but_for_what_a_network_sees_at_least():
    asking = loader("rotation")
    assert isinstance(asking, PretextLoader)
    assert (len(asking), asking.num_images, asking.first_batch) == (5, 23, 5)
    assert asking.smallest_batch == 4 * asking.loader.smallest_batch
    assert not isinstance(loader("classify"), PretextLoader)


# The data


@pytest.mark.parametrize("name", ["digits", "MNIST", "kmnist", "svhn"])
def test_rotations_of_signs_are_warned_of_and_the_other_task_is_named(name, tmp_path):
    source = find_dataset(name if name == "digits" else str(tmp_path / name))
    text = Rotation.warning(source.name, source.preset)
    assert text.count("\n") == 0
    assert source.name in text
    assert "--task jigsaw" in text
    assert Jigsaw.warning(source.name, source.preset) is None


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
