import multiprocessing
from itertools import islice

import pytest
import torch
from PIL import Image

from data.decoding import DataError
from data.images import Entry, Images
from data.loaders import LargeImageLoader, TensorLoader, balanced_sizes, forever, make_loader
from data.presets import IMAGENET, large, small
from data.splits import split_indices
from utils.system.seeds import derived_seed

CPU = torch.device("cpu")
TINY = small(32, IMAGENET, cutout=0)
LARGE = large(65)


def marked(n, size=32):
    """Images of one colour, blue and green telling their number; the label is three times the number."""
    numbers = torch.arange(n)
    colours = torch.stack([torch.full((n,), 99), numbers // 16 * 15, numbers % 16 * 15], 1).to(torch.uint8)
    return Images(3 * numbers, size, colours[:, :, None, None].expand(-1, -1, size, size).contiguous())


def numbers(batch, preset=TINY):
    """Numbers of the marked images in a batch, read from the pixel in the middle."""
    middle = batch.images[:, :, batch.images.shape[2] // 2, batch.images.shape[3] // 2]
    colours = (middle * torch.tensor(preset.std) + torch.tensor(preset.mean)) * 255 / 15
    found = [int(16 * g + b) for _, g, b in colours.round().tolist()]
    assert batch.labels.tolist() == [3 * number for number in found]
    return found


def tensor_loader(n=23, images=None, **changes):
    options = {"batch_size": 5, "device": CPU, "seed": 1, "stream": "s", "augment": True, "shuffle": True}
    return make_loader(images or marked(n), TINY, **{**options, **changes})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root, images = tmp_path_factory.mktemp("images"), marked(11, 90)
    paths = tuple(root / f"{i}.png" for i in range(11))
    for path, pixels in zip(paths, images.pixels, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return Images.of([Entry(path, 3 * i) for i, path in enumerate(paths)], LARGE.decoded_size)


def large_loader(images, **changes):
    options = {"batch_size": 4, "device": CPU, "seed": 1, "stream": "s", "augment": True, "shuffle": True}
    return make_loader(images, LARGE, **{**options, **changes})


def epoch(loader, number=0, start=0):
    loader.set_epoch(number, start)
    return list(loader)


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(left, right, strict=True)
    )


def test_balanced_sizes():
    for n in range(1, 130):
        for batch_size in range(1, 40):
            sizes = balanced_sizes(n, batch_size)
            assert sum(sizes) == n
            assert max(sizes) - min(sizes) <= 1
            assert sizes == sorted(sizes, reverse=True)
            assert min(sizes) > 1 or n == 1 or batch_size == 1
            if batch_size == 2 and n > 1:
                assert max(sizes) <= 3
            else:
                assert max(sizes) <= batch_size
                assert len(sizes) == -(-n // batch_size)


def test_no_process_is_without_images_where_there_is_one_for_each():
    for processes in range(1, 9):
        for n in range(1, 60):
            for batch_size in range(1, 9):
                sizes = balanced_sizes(n, batch_size, processes)
                assert sum(sizes) == n
                assert max(sizes) - min(sizes) <= 1
                assert min(sizes) >= min(n, processes)
                assert len(sizes) <= -(-n // (batch_size * processes))


@pytest.mark.parametrize("kind", ["tensor", "large"])
def test_a_process_without_images_gets_empty_batches_in_evaluation_and_none_trains(kind, files):
    three = files.subset(torch.arange(3)) if kind == "large" else marked(3)
    make = large_loader if kind == "large" else lambda images, **options: tensor_loader(images=images, **options)
    shares = [epoch(make(three, augment=False, rank=rank, world_size=4)) for rank in range(4)]
    assert sorted(len(batch.labels) for [batch] in shares) == [0, 1, 1, 1]
    [whole] = epoch(make(three, augment=False))
    assert torch.equal(torch.cat([batch.images for [batch] in shares]), whole.images)
    with pytest.raises(DataError, match=r"val/ has 3 images for 4 processes to train on.*fewer processes"):
        make(three, stream="valid", rank=0, world_size=4)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (17, 16), (23, 5), (3, 2), (200, 300), (4, 1)])
@pytest.mark.parametrize("augment", [True, False])
def test_a_pass_shows_every_image_once(n, batch_size, augment):
    loader = tensor_loader(n, batch_size=batch_size, augment=augment)
    for number in range(2):
        batches = epoch(loader, number)
        assert sorted(i for batch in batches for i in numbers(batch)) == list(range(n))
        assert len(batches) == len(loader)
        assert [len(batch.labels) for batch in batches] == balanced_sizes(n, batch_size)
        assert min(len(batch.labels) for batch in batches) == loader.smallest_batch


def test_orders_and_draws_differ_by_epoch_seed_and_stream_and_repeat():
    noise = torch.randint(256, (23, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = Images(torch.arange(23), 32, noise)
    passes = [
        (epoch(tensor_loader(images=images, **changes), number))
        for number, changes in ((0, {}), (1, {}), (0, {"seed": 2}), (0, {"stream": "t"}))
    ]
    orders = {tuple(label for batch in one for label in batch.labels.tolist()) for one in passes}
    assert len(orders) == 4
    used = tensor_loader(images=images)
    epoch(used, 5)
    assert same(epoch(used, 1), passes[1])
    still = tensor_loader(images=images, shuffle=False)
    first, second = epoch(still, 0), epoch(still, 1)
    assert [label for batch in first for label in batch.labels.tolist()] == list(range(23))
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("start", range(6))
def test_a_pass_continues_at_any_batch(start, files):
    assert same(epoch(tensor_loader(), 2, start), epoch(tensor_loader(), 2)[start:])
    assert same(epoch(large_loader(files), 2, start), epoch(large_loader(files), 2)[start:])


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("kind", ["tensor", "large"])
def test_processes_share_what_one_process_gets(world_size, kind, files):
    def make(batch_size, **options):
        return (
            large_loader(files, batch_size=batch_size, **options)
            if kind == "large"
            else tensor_loader(batch_size=batch_size, **options)
        )

    whole = epoch(make(2 * world_size), 1)
    shares = [epoch(make(2, rank=rank, world_size=world_size), 1) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(whole)}
    for full, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), full.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), full.labels)
        assert len(set(full.labels.tolist())) == sum(len(part.labels) for part in parts)
        assert min(len(part.labels) for part in parts) >= make(2, world_size=world_size).smallest_batch


def test_large_images_come_once_each_with_their_labels(files):
    loader = large_loader(files, augment=False)
    found = [i for batch in epoch(loader) for i in numbers(batch, LARGE)]
    assert sorted(found) == list(range(11))
    assert found != sorted(found)
    assert isinstance(loader, LargeImageLoader)
    assert isinstance(tensor_loader(), TensorLoader)
    assert next(iter(loader)).images.shape == (4, 3, 65, 65)


def test_large_images_do_not_depend_on_workers_nor_on_the_cache(files):
    alone = epoch(large_loader(files), 1)
    assert not same(alone, epoch(large_loader(files), 0))
    assert same(epoch(large_loader(files, workers=1), 1), alone)
    assert same(epoch(large_loader(files, workers=2), 1), alone)
    kept = Images(files.labels, files.size, torch.stack([files.decoded(i)[0] for i in range(11)]))
    assert same(epoch(large_loader(kept, workers=2), 1), alone)
    assert same(epoch(large_loader(files, workers=2, augment=False)), epoch(large_loader(kept, augment=False)))


def test_large_images_do_not_depend_on_how_workers_start(files):
    """Those of the other tests are forked."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        found = epoch(large_loader(files, workers=1), 1)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert same(found, epoch(large_loader(files), 1))


def test_every_large_image_is_drawn_anew(files):
    one = files.subset(torch.tensor([5] * 8))
    first, second = (torch.cat([b.images for b in epoch(large_loader(one, workers=2), e)]) for e in range(2))
    assert len({tuple(image.flatten().tolist()) for image in (*first, *second)}) == 16


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_leaves_the_global_generator_alone(files, workers):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    epoch(large_loader(files, workers=workers))
    epoch(tensor_loader())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_resolution_jitter_coarsens_some(files):
    noise = torch.randint(256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = Images(torch.arange(40), 256, noise.expand(40, -1, -1, -1))
    detail = [[], []]
    for jitter in (0, 1):
        options = {"batch_size": 40, "augment": True, "shuffle": False, "device": CPU, "seed": 0, "stream": "s"}
        batch = next(iter(make_loader(images, large(224), resolution_jitter=bool(jitter), **options)))
        detail[jitter] = batch.images.diff(dim=3).abs().mean((1, 2, 3))
    assert (detail[1] < detail[0].min() / 2).float().mean() > 0.2
    assert (detail[1] > detail[0].min() / 2).float().mean() > 0.2


@pytest.mark.parametrize("first", [0, 3, 5, 12])
def test_forever_continues_anywhere(first):
    loader = tensor_loader()
    expected = [batch for number in range(4) for batch in epoch(loader, number)]
    assert same(list(islice(forever(loader, first), 7)), expected[first : first + 7])


def test_derived_seeds_are_in_range_and_differ():
    seeds = {derived_seed(seed, stream, e) for seed in range(10) for stream in "ab" for e in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(1, "a", 2) == derived_seed(1, "a", 2)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_splits(fraction):
    labels = torch.tensor([0] * 2 + [2] * 50 + [1] * 7 + [3])[torch.randperm(60)]
    rest, held = split_indices(labels, fraction, seed=1)
    assert torch.equal(torch.cat([rest, held]).sort().values, torch.arange(60))
    counts = torch.bincount(labels[held], minlength=4).tolist()
    assert counts[3] == 0
    for count, n in zip(counts, (2, 7, 50), strict=False):
        assert count == min(max(round(fraction * n), 1), n - 1)
    assert all(map(torch.equal, split_indices(labels, fraction, seed=1), (rest, held)))
    assert not torch.equal(split_indices(labels, 0.5, seed=2)[0], split_indices(labels, 0.5, seed=1)[0])
