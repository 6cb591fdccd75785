"""Mixup, CutMix, policies and random erasing: what they do to images and labels, and what their draws depend on."""

import pytest
import torch
from PIL import Image

from data.images import Entry, Images
from data.loaders import TensorLoader, make_loader
from data.mixing import MixedLoader
from data.presets import IMAGENET, large, small
from data.transforms import POLICIES, Samples, each, training_transform
from tests.data.test_loaders import epoch, same

CPU = torch.device("cpu")
PRESET = small(16, IMAGENET, cutout=0)
CHANGING = [name for name in POLICIES if name != "none"]


def noise(n: int = 24, size: int = 16, seed: int = 0) -> Images:
    pixels = torch.randint(256, (n, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Images(torch.arange(n), size, pixels)


def loader(images: Images | None = None, **changes) -> TensorLoader:
    options = {"batch_size": 6, "device": CPU, "seed": 1, "stream": "s", "augment": False, "shuffle": True}
    return make_loader(images or noise(), PRESET, **{**options, **changes})


def mixed(mixup: float = 0.0, cutmix: float = 0.0, **changes) -> MixedLoader:
    return MixedLoader(loader(**changes), 24, mixup=mixup, cutmix=cutmix)


def shares(batch, plain) -> torch.Tensor:
    """How much each image keeps of itself, by its soft label."""
    return batch.labels.gather(1, plain.labels[:, None]).flatten()


def test_mixup_is_the_mixture_that_the_labels_state():
    kept = []
    for number in range(8):
        for batch, plain in zip(epoch(mixed(mixup=1.0), number), epoch(loader(), number), strict=True):
            lam = shares(batch, plain)
            assert torch.allclose(batch.labels.sum(1), torch.ones(6))
            assert torch.equal(lam, lam[:1].expand(6)), "one draw a batch"
            assert ((batch.labels > 0).sum(1) <= 2).all()
            expected = lam[0] * plain.images + (1 - lam[0]) * plain.images.roll(1, 0)
            torch.testing.assert_close(batch.images, expected, rtol=1e-5, atol=1e-5)
            other = batch.labels.gather(1, plain.labels.roll(1)[:, None]).flatten()
            torch.testing.assert_close(lam + other, torch.ones(6))
            kept.append(lam[0].item())
    assert len(set(kept)) == len(kept) == 32
    assert 0.35 < sum(kept) / len(kept) < 0.65


def test_cutmix_takes_the_share_of_pixels_that_the_labels_state_from_another_image():
    changed = 0
    for number in range(4):
        for batch, plain in zip(epoch(mixed(cutmix=1.0), number), epoch(loader(), number), strict=True):
            own, other = plain.images, plain.images.roll(1, 0)
            is_own, is_other = ((batch.images == x).all(1) for x in (own, other))
            assert (is_own | is_other).all()
            torch.testing.assert_close(is_own.float().mean(dim=(1, 2)), shares(batch, plain), rtol=0, atol=1e-5)
            rows, columns = (~is_own[0]).any(1), (~is_own[0]).any(0)
            assert torch.equal(~is_own[0], rows[:, None] & columns), "a rectangle"
            changed += bool(rows.any())
    assert changed >= 12


def test_both_are_used_where_both_are_on():
    kinds = set()
    for number in range(4):
        for batch, plain in zip(epoch(mixed(0.5, 1.0), number), epoch(loader(), number), strict=True):
            from_either = (batch.images == plain.images) | (batch.images == plain.images.roll(1, 0))
            kinds.add("cutmix" if from_either.all() else "mixup")
    assert kinds == {"mixup", "cutmix"}


@pytest.mark.parametrize("kinds", [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_the_draws_of_a_batch_depend_on_its_epoch_and_number_alone(kinds):
    first = epoch(mixed(*kinds), 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert same(epoch(mixed(*kinds), 3), first)
    assert same(epoch(mixed(*kinds), 3, start=2), first[2:])
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert not same(epoch(mixed(*kinds), 4), first)
    assert not same(epoch(mixed(*kinds, seed=2), 3), first)
    assert len(mixed(*kinds)) == 4
    assert mixed(*kinds).num_images == 24


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("is_large", [False, True])
def test_what_a_policy_makes_of_an_image_depends_on_its_seed_alone(name, is_large):
    policy, images = POLICIES[name](is_large), noise().pixels
    seeds = torch.arange(24) * 7919
    state = torch.get_rng_state()
    together = each(policy, images, seeds)
    assert torch.equal(torch.get_rng_state(), state)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(together, images)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(5))[:9]
    assert torch.equal(each(policy, images[order], seeds[order]), together[order])
    assert not torch.equal(each(policy, images, seeds + 1), together)
    assert each(policy, images[:0], seeds[:0]).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(
    "options", [{"policy": "trivialaugment"}, {"erasing": 0.5}, {"policy": "randaugment", "erasing": 1}]
)
def test_several_processes_see_what_one_would_see(options):
    alone = epoch(loader(augment=True, **options), 2)
    parts = [epoch(loader(augment=True, batch_size=3, rank=r, world_size=2, **options), 2) for r in range(2)]
    joined = [torch.cat([a.images, b.images]) for a, b in zip(*parts, strict=True)]
    assert all(torch.equal(x, batch.images) for x, batch in zip(joined, alone, strict=True))
    assert same(epoch(loader(augment=True, **options), 2, start=1), alone[1:])
    plain = epoch(loader(augment=False, **options), 2)
    assert same(plain, epoch(loader(), 2)), "nothing is done to images that are evaluated"


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_random_erasing_blanks_a_rectangle_of_some_images_and_nothing_else(probability):
    images = noise(400)
    options = {"augment": True, "batch_size": 100}
    erased = 0
    for plain, batch in zip(
        epoch(loader(images, **options)), epoch(loader(images, erasing=probability, **options)), strict=True
    ):
        changed = (plain.images != batch.images).any(1)
        assert (batch.images.movedim(1, -1)[changed] == 0).all()
        for mask in changed[changed.any(2).any(1)]:
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert 0.01 <= mask.float().mean() <= 0.4
            erased += 1
    assert erased / 400 == pytest.approx(probability, abs=0.07)


@pytest.mark.parametrize("policy", ["none", "autoaugment", "trivialaugment"])
def test_large_images_with_a_policy_and_erasing_depend_on_index_and_seed_alone(policy, tmp_path):
    preset = large(65)
    pixels = noise(3, 80).pixels
    paths = tuple(tmp_path / f"{i}.png" for i in range(3))
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    transformed = Samples(
        Images.of([Entry(path, i) for i, path in enumerate(paths)], preset.decoded_size),
        training_transform(preset, False, policy, erasing=1.0),
    )
    keys = [(0, 5), (1, 5), (2, 9), (0, 6)]
    shown = [transformed[key][0] for key in keys]
    assert all(image.shape == (3, 65, 65) and image.dtype == torch.float32 for image in shown)
    assert all((image == 0).all(0).any() for image in shown), "a part is erased"
    torch.manual_seed(3)
    assert all(torch.equal(transformed[key][0], image) for key, image in zip(keys[::-1], shown[::-1], strict=True))
    assert not torch.equal(shown[0], shown[3])
