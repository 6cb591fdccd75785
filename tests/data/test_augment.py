from collections import Counter
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare
from torchvision import transforms
from torchvision.transforms import functional

from data.datasets import find_dataset
from data.presets import CIFAR10, small
from data.transforms import Draws, crop, cut_out, draw, normalise, padding

CIFAR = small(32, CIFAR10)


def augment(pixels, draws, preset):
    return cut_out(normalise(crop(pixels, draws, preset), preset), draws, preset)


def noise(n, size=32, seed=0):
    return torch.randint(256, (n, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_image(pixels, top, left, mirrored, row, column, preset):
    """The published pipeline for one image and given draws, by torchvision; cutout as its authors wrote it."""
    pad, size = preset.image_size // 8, preset.image_size
    image = functional.crop(functional.pad(pixels, [pad] * 4), top, left, size, size)
    if mirrored:
        image = functional.hflip(image)
    image = functional.normalize(image.float() / 255, preset.mean, preset.std)
    mask = torch.ones(size, size)
    half = preset.cutout // 2
    mask[max(row - half, 0) : min(row + half, size), max(column - half, 0) : min(column + half, size)] = 0
    return image * mask


@pytest.mark.parametrize("size", [8, 20, 32, 33, 64])
@pytest.mark.parametrize("cutout", [None, 0, 2])
def test_each_image_is_what_the_per_image_pipeline_gives_for_its_draws(size, cutout):
    preset = small(size, CIFAR10, cutout=None if cutout is None else cutout)
    pixels, draws = noise(60, size), draw(60, preset, generator())
    batch = augment(pixels, draws, preset)
    assert draws.mirrored.any()
    assert not draws.mirrored.all()
    rows = zip(*(values.tolist() for values in draws), strict=True)
    expected = torch.stack([one_image(p, *row, preset) for p, row in zip(pixels, rows, strict=True)])
    torch.testing.assert_close(batch, expected, rtol=0, atol=3e-6)
    assert torch.equal(batch == 0, expected == 0)


def recovered(image):
    """(top, left, mirrored) of a crop whose pixels tell where they were in the padded image."""
    row, column = (image[0] != 0).nonzero()[0].tolist()
    first, step = int(image[0, row, column]), int(image[0, row, column + 1]) - int(image[0, row, column])
    mirrored = step < 0
    original_column = first - 1
    left = original_column - column + 4 if not mirrored else original_column - (31 - column) + 4
    return int(image[1, row, column]) - 1 - row + 4, left, mirrored


def test_crops_and_flips_have_the_distribution_of_torchvision():
    n = 8100
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0], image[1] = torch.arange(1, 33), torch.arange(1, 33)[:, None]  # column and row, from 1
    plain = replace(CIFAR, mean=(0.0,) * 3, std=(1 / 255,) * 3, cutout=0)
    batch = augment(image.expand(n, -1, -1, -1), draw(n, plain, generator(1)), plain).round()
    ours = Counter(recovered(each) for each in batch)
    torch.manual_seed(1)
    reference = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])
    theirs = Counter(recovered(reference(image)) for _ in range(3 * 162))
    cells = {(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)}
    assert set(ours) == cells
    assert set(theirs) <= cells
    assert len(theirs) > 140  # all cells in reach of torchvision too
    assert chisquare(list(ours.values())).pvalue > 0.001
    for axis in range(3):
        assert chisquare(list(Counter(cell[axis] for cell in theirs.elements()).values())).pvalue > 0.001


def test_every_draw_is_uniform_and_independent_of_the_others():
    n = 40_000
    draws = draw(n, CIFAR, generator(2))
    for values, count in zip(draws, (9, 9, 2, 32, 32), strict=True):
        found = torch.bincount(values.long(), minlength=count)
        assert len(found) == count
        assert chisquare(found.numpy()).pvalue > 0.001
    columns = torch.stack([values.double() for values in draws])
    assert (torch.corrcoef(columns) - torch.eye(5)).abs().max() < 0.02


def test_normalise_equals_torchvision():
    pixels = noise(7)
    expected = transforms.Normalize(CIFAR.mean, CIFAR.std)(pixels.float() / 255)
    torch.testing.assert_close(normalise(pixels, CIFAR), expected, rtol=0, atol=3e-6)
    assert normalise(pixels, CIFAR).dtype == torch.float32


def test_cutout_blanks_a_square_clipped_at_the_border():
    grid = torch.cartesian_prod(torch.arange(32), torch.arange(32))
    still, unmirrored = torch.full((1024,), padding(CIFAR)), torch.zeros(1024, dtype=torch.bool)
    draws = Draws(still, still, unmirrored, *grid.T)
    white = torch.full((1024, 3, 32, 32), 255, dtype=torch.uint8)
    blank = augment(white, draws, CIFAR) == 0
    assert torch.equal(blank[:, 0], blank[:, 1])
    assert torch.equal(blank[:, 0], blank[:, 2])
    areas = blank[:, 0].sum((1, 2)).view(32, 32)
    assert areas[8:25, 8:25].eq(256).all()
    assert (areas[0, 0], areas[31, 31], areas[0, 16]) == (64, 81, 128)
    assert (areas.min(), areas.max()) == (64, 256)


@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_any_size_of_the_square(size):
    preset = replace(CIFAR, cutout=size)
    middle = Draws(*(torch.tensor([v]) for v in (4, 4, 0, 16, 16)))._replace(mirrored=torch.tensor([False]))
    blank = augment(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), middle, preset) == 0
    assert blank[0, 0].sum() == min(size, 32) ** 2


def test_the_input_and_the_global_generator_are_left_alone():
    pixels, state = noise(9), torch.random.get_rng_state()
    before = pixels.clone()
    augment(pixels, draw(9, CIFAR, generator()), CIFAR)
    normalise(pixels, CIFAR)
    assert torch.equal(pixels, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_draws_repeat_with_the_seed_and_differ_without():
    first, again, other = (draw(50, CIFAR, generator(seed)) for seed in (3, 3, 4))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_digits_are_never_mirrored_nor_cut_unless_asked_for():
    preset = find_dataset("digits").preset
    assert not draw(500, preset, generator()).mirrored.any()
    assert preset.cutout == 0
    asked = find_dataset("digits", flip=True, cutout=6).preset
    assert draw(500, asked, generator()).mirrored.any()
    assert asked.cutout == 6


def test_part_is_the_same_share_of_every_draw():
    draws = draw(10, CIFAR, generator())
    joined = [torch.cat(pair) for pair in zip(draws.part(slice(0, 4)), draws.part(slice(4, 10)), strict=True)]
    assert all(map(torch.equal, joined, draws))
