"""Masks and boxes move with the image: an image of its own coordinates tells where each pixel came from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from data import presets
from data.images import Entry, Images
from data.loaders import LargeImageLoader
from data.transforms import dense_transform, moves

SIDE = 64
PRESET = presets.large(SIDE)
STEP = 4  # pixels of a side that have one id


def coordinates():
    """(3, S, S): column, row and nothing, both twice as large as they are."""
    grid = torch.arange(SIDE, dtype=torch.uint8) * 2
    return torch.stack([grid.expand(SIDE, SIDE), grid[:, None].expand(SIDE, SIDE), torch.zeros(SIDE, SIDE).byte()])


def ids():
    """(S, S): an id for each block of ``STEP`` x ``STEP`` pixels, which their coordinates tell."""
    steps = torch.arange(SIDE, dtype=torch.uint8) // STEP
    return steps + 16 * (steps[:, None] % 8)


@pytest.mark.parametrize("seed", range(6))
def test_a_mask_moves_with_the_image(seed):
    torch.manual_seed(seed)
    image, mask = v2.Compose(moves(PRESET))(tv_tensors.Image(coordinates()), tv_tensors.Mask(ids()))
    assert image.shape == (3, SIDE, SIDE)
    column, row = (image[:2].float() / 2).unbind()  # where each pixel came from
    for found, from_pixel in ((mask % 16, column), (mask // 16, row % (8 * STEP))):
        centre = found.float() * STEP + (STEP - 1) / 2
        off = (from_pixel - centre).abs()
        off = off.minimum((8 * STEP - off).abs())  # rows come around again
        assert (off < STEP / 2 + 1).float().mean() > 0.97, "but for rounding at the edges of blocks"
        assert off.max() < STEP + 1


def test_the_crop_and_the_mirror_are_really_drawn():
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        column = v2.Compose(moves(PRESET))(tv_tensors.Image(coordinates()))[0].float() / 2
        seen.add((int(column[0, 0]) < int(column[0, -1]), int(column[0].min()), int(column[0].max())))
    assert len({mirrored for mirrored, *_ in seen}) == 2
    assert len(seen) == 8


@pytest.mark.parametrize("seed", range(6))
def test_boxes_move_with_the_image(seed):
    original = torch.tensor([[8.0, 4, 28, 36], [40, 30, 60, 62], [2, 50, 20, 60]])
    boxes = tv_tensors.BoundingBoxes(original, format="XYXY", canvas_size=(SIDE, SIDE))
    torch.manual_seed(seed)
    clean = v2.Compose([*moves(PRESET), v2.SanitizeBoundingBoxes(min_size=2)])
    image, found = clean(tv_tensors.Image(coordinates()), {"boxes": boxes, "labels": torch.tensor([0, 1, 2])})
    assert len(found["boxes"]) == len(found["labels"])
    for box, label in zip(found["boxes"].as_subclass(torch.Tensor), found["labels"], strict=True):
        own = original[label]
        x1, y1, x2, y2 = box.tolist()
        inside = image[:2, int(y1 + 0.99) : int(y2) or 1, int(x1 + 0.99) : int(x2) or 1].float() / 2  # (2, h, w)
        if not inside.numel():
            continue
        for axis, touches in ((0, (x1 < 0.5, x2 > SIDE - 0.5)), (1, (y1 < 0.5, y2 > SIDE - 0.5))):
            low, high = inside[axis].min().item(), inside[axis].max().item()
            assert low >= own[axis] - 2
            assert high <= own[axis + 2] + 1
            if not any(touches):  # whole, so both ends are there
                assert low <= own[axis] + 2.5
                assert high >= own[axis + 2] - 3.5


def test_a_box_that_is_cut_away_goes_with_its_label():
    boxes = tv_tensors.BoundingBoxes([[0, 0, 6, 6], [58, 58, 64, 64]], format="XYXY", canvas_size=(SIDE, SIDE))
    transform, left = dense_transform(PRESET, with_boxes=True), set()
    for seed in range(10):
        torch.manual_seed(seed)
        target = {"boxes": boxes.clone(), "labels": torch.tensor([7, 9])}
        _, found = transform(tv_tensors.Image(coordinates()), target)
        assert len(found["boxes"]) == len(found["labels"])
        left.add(tuple(found["labels"].tolist()))
    assert len(left) > 1


def test_batches_depend_on_seed_epoch_and_place_alone():
    kept = {"pixels": coordinates().expand(6, -1, -1, -1), "maps": ids().expand(6, -1, -1)}
    images = Images(
        torch.zeros(6, dtype=torch.long),
        SIDE,
        entries=tuple(Entry(Path(name), mask=Path(name)) for name in "abcdef"),
        num_classes=128,
        **kept,
    )

    def loader(**more):
        options = {"batch_size": 4, "device": torch.device("cpu"), "seed": 1, "stream": "train", **more}
        return LargeImageLoader(images, PRESET, augment=True, shuffle=True, **options)

    whole = list(loader())
    assert [len(batch.labels) for batch in whole] == [3, 3]
    late = loader()
    late.set_epoch(0, 1)
    assert torch.equal(next(iter(late)).labels, whole[1].labels)
    parts = [list(loader(batch_size=2, rank=rank, world_size=2)) for rank in (0, 1)]
    for i, batch in enumerate(whole):
        for name in ("images", "labels"):
            together = torch.cat([getattr(part[i], name) for part in parts])
            assert torch.equal(together, getattr(batch, name))
    next_epoch = loader()
    next_epoch.set_epoch(1)
    assert not torch.equal(next(iter(next_epoch)).labels, whole[0].labels)
    assert torch.equal(next(iter(loader(workers=1))).images, whole[0].images)


def test_workers_take_more_images_with_boxes_than_files_can_be_open_between_processes():
    n, box = 300, np.array([[0.25, 0.25, 0.75, 0.75, 0]], np.float32)
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8).expand(n, -1, -1, -1)
    images = Images(
        torch.zeros(n, dtype=torch.long), 8, pixels, entries=tuple(Entry(Path("x"), boxes=box.copy()) for _ in range(n))
    )
    preset = replace(PRESET, image_size=8)
    options = {"batch_size": n, "device": torch.device("cpu"), "seed": 1, "stream": "val", "augment": False}
    [batch] = LargeImageLoader(images, preset, shuffle=False, workers=1, **options)
    assert batch.labels.shape == (n, 1, 5)
    assert batch.labels[-1, 0].tolist() == [2, 2, 6, 6, 0]
