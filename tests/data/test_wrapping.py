"""Loaders around another one: what they do not say is as that one says."""

import pytest
import torch

from data.images import Images
from data.loaders import make_loader
from data.mixing import MixedLoader
from data.presets import large, small
from engine.tasks import TASKS

WRAPPERS = {
    "mixed": lambda loader: MixedLoader(loader, 3, mixup=1.0),
    "rotation": TASKS["rotation"].wrap,
}


def loader(preset):
    side = preset.decoded_size
    pixels = torch.randint(256, (7, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = Images(torch.arange(7) % 3, side, pixels)
    options = {"batch_size": 3, "device": torch.device("cpu"), "seed": 1, "stream": "s", "workers": 0}
    return make_loader(images, preset, augment=True, shuffle=True, **options)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("preset", [large(72), small(16, ((0.5,) * 3, (0.5,) * 3))], ids=["large", "small"])
def test_what_a_wrapper_does_not_say_is_as_its_loader_says(wrap, preset):
    wrapped = wrap(loader(preset))
    assert (len(wrapped), wrapped.num_images, wrapped.split) == (3, 7, wrapped.loader.split)
    assert len(list(wrapped)) == 3
    with pytest.raises(AttributeError):
        wrapped.no_such_thing  # noqa: B018
