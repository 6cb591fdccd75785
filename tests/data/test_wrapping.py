"""Loaders around another one: what they do not say is as that one says, and workers change no batch."""

import pytest
import torch

from data.images import Images
from data.loaders import make_loader
from data.mixing import MixedLoader
from data.presets import large, small
from engine.tasks import PRETEXTS, TASKS

WRAPPERS = {
    "mixed": lambda loader: MixedLoader(loader, 3, mixup=1.0),
    **{name: TASKS[name].wrap for name in PRETEXTS},
}


def loader(preset):
    side = preset.decoded_size
    pixels = torch.randint(256, (7, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = Images(torch.arange(7) % 3, side, pixels)
    options = {"batch_size": 3, "device": torch.device("cpu"), "seed": 1, "stream": "s", "workers": 0}
    return make_loader(images, preset, augment=True, shuffle=True, **options)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_the_same_batches_come_whoever_reads(wrap):
    own = wrap(loader(large(72)))
    other = own.read_by(0)
    assert type(other) is type(own)
    assert other.loader is not own.loader
    for batches in (own, other):
        batches.set_epoch(1)
    for a, b in zip(own, other, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert len(own) == len(own.loader) == 3


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_where_no_worker_reads_there_is_no_such_loader(wrap):
    own = wrap(loader(small(16, ((0.5,) * 3, (0.5,) * 3))))
    assert own.read_by(2) is None
    assert (own.num_images, own.part) == (7, own.loader.part)
    with pytest.raises(AttributeError):
        own.no_such_thing  # noqa: B018
