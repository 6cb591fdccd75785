"""Tasks without labels: how images are turned, how their tiles lie (docs/tasks.md, section 20)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from data.loaders import Batch, Loader
from data.mixing import WrappedLoader
from data.presets import Preset
from engine.tasks.classification import Classification
from utils.system.seeds import derived_seed

VIEWS = 4  # of an image that a network is shown: its rotations, or its tiles
GRID = 2  # tiles in a row and in a column
TILE = 0.76  # of the side of its patch
GRAY = 0.3  # probability that a tile is gray
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
ORDERS = torch.tensor(list(permutations(range(VIEWS))))  # (24, 4): the tile at each place, by label
Choices = tuple[Tensor, ...]


def tile_side(side: int) -> int:
    """The side of a tile of images of a side: 12 at 32."""
    return max(1, int(TILE * (side // GRID)))


def cut(images: Tensor, place: Tensor) -> Tensor:
    """Cut the four tiles of images (n, 3, S, S), row by row: (n, 4, 3, t, t). ``place``: of each in its patch."""
    n, _, side, _ = images.shape
    t = tile_side(side)
    steps = torch.arange(t, device=images.device)  # (t,)
    corner = torch.cartesian_prod(*[torch.arange(GRID, device=images.device) * (side // GRID)] * 2)  # (4, 2)
    rows, columns = ((corner + place)[:, :, axis, None] + steps for axis in (0, 1))  # (n, 4, t) each
    positions = (rows[..., :, None] * side + columns[..., None, :]).view(n, 1, VIEWS * t * t)
    taken = images.flatten(2).gather(2, positions.expand(-1, 3, -1))  # (n, 3, 4 * t * t)
    return taken.view(n, 3, VIEWS, t, t).transpose(1, 2)


def grayed(tiles: Tensor, gray: Tensor, preset: Preset) -> Tensor:
    """Normalised tiles (n, 4, 3, t, t), gray where ``gray`` (n, 4) says so: three channels of the luma."""
    # The mean of the channels is left out: tiles are normalised by themselves next.
    weights = tiles.new_tensor(LUMA) * tiles.new_tensor(preset.std)  # (3,)
    luma = (tiles * weights[:, None, None]).sum(2, keepdim=True)  # (n, 4, 1, t, t)
    return torch.where(gray[..., None, None, None], luma, tiles)


def by_itself(tiles: Tensor) -> Tensor:
    """Every channel of every tile (n, 4, 3, t, t) with mean 0 and deviation 1; without variation it is 0."""
    centred = tiles - tiles.mean((3, 4), keepdim=True)
    std = centred.square().mean((3, 4), keepdim=True).sqrt()  # (n, 4, 3, 1, 1)
    return centred / torch.where(std < 1e-4, torch.ones_like(std), std)


class Pretext(Classification):
    """A question about images whose answer is known without labels: a network is trained to give it."""

    retrained_as = Classification.name
    uses_labels = False

    @staticmethod
    def draw(n: int, side: int, generator: torch.Generator) -> Choices:
        """The random choices for n images of a side: tensors (n, ...)."""
        return ()

    @staticmethod
    @abstractmethod
    def ask(images: Tensor, choices: Choices, preset: Preset) -> tuple[Tensor, Tensor]:
        """What a network is shown of normalised images (n, 3, S, S), VIEWS times as many, and the right answers."""

    @classmethod
    def wrap(cls, loader: Loader) -> PretextLoader:
        """The loader with questions and answers in place of images and labels."""
        return PretextLoader(loader, cls)


class Rotation(Pretext):
    """Which of its four rotations an image is in."""

    name = "rotation"

    @staticmethod
    def ask(images: Tensor, choices: Choices = (), preset: Preset | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, 3, S, S) in their four rotations (4 n, 3, S, S): all as they are, all turned once to the left, ...

        The answers (4 n,) say how many times each was turned.
        """
        turned = torch.cat([images.rot90(k, (2, 3)) for k in range(VIEWS)])  # (4 n, 3, S, S)
        return turned, torch.arange(VIEWS, device=images.device).repeat_interleave(len(images))

    @classmethod
    def changed_defaults(cls, values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
        """Half the batch and half the learning rate, since a batch grows fourfold."""
        halved = {"batch_size": values["batch_size"] // 2, "child_lr_max": values["child_lr_max"] / 2}
        return {flag: value for flag, value in halved.items() if flag not in given}

    @classmethod
    def warning(cls, data: str, preset: Preset) -> str | None:
        """That nobody could tell how signs were turned: what has no mirror image is writing."""
        if preset.flip:
            return None
        return (
            f"warning: --task {cls.name} asks of {data} what cannot be answered where signs look alike when turned: "
            f"use --task {Jigsaw.name}"
        )

    def outputs(self, classes: int) -> int:
        """One for each rotation, whatever the data."""
        return VIEWS


class Jigsaw(Pretext):
    """In which of 24 orders the four tiles of an image are."""

    name = "jigsaw"
    head = "jigsaw"
    shows_whole_images = False
    untrained_rankers = ()  # they compare what a network gives for whole images

    @staticmethod
    def draw(n: int, side: int, generator: torch.Generator) -> Choices:
        """For each of n images: its order (n,), where each tile lies in its patch (n, 4, 2), which are gray (n, 4)."""
        gaps = side // GRID - tile_side(side) + 1
        order = torch.randint(len(ORDERS), (n,), generator=generator)
        place = torch.randint(gaps, (n, VIEWS, 2), generator=generator)
        return order, place, torch.rand(n, VIEWS, generator=generator) < GRAY

    @staticmethod
    def ask(images: Tensor, choices: Choices, preset: Preset) -> tuple[Tensor, Tensor]:
        """The tiles (4 n, 3, t, t) of images (n, 3, S, S), those of an image in a row, in an order: the answer (n,).

        The tile at place i of order k is number ORDERS[k, i], counted row by row.
        """
        order, place, gray = choices
        tiles = by_itself(grayed(cut(images, place), gray, preset))  # (n, 4, 3, t, t)
        rows = torch.arange(len(images), device=images.device)[:, None]  # (n, 1)
        return tiles[rows, ORDERS.to(images.device)[order]].flatten(0, 1), order

    @classmethod
    def input_side(cls, image_size: int) -> int:
        """That of a tile."""
        return tile_side(image_size)

    @classmethod
    def input_title(cls, image_size: int) -> str:
        """The same as messages call it."""
        return f"a jigsaw's tile of {tile_side(image_size)} pixels, of images of {image_size},"

    def outputs(self, classes: int) -> int:
        """One for each order, whatever the data."""
        return len(ORDERS)


class PretextLoader(WrappedLoader):
    """The batches of a loader with the questions and answers of a pretext in place of images and labels.

    What is asked of an image depends on the seed, the stream, the image and, where images are augmented, the epoch; not
    on batches or processes. Sizes are those of the loader: so many images of the data.
    """

    views = VIEWS

    def __init__(self, loader: Loader, pretext: type[Pretext]) -> None:
        super().__init__(loader)
        self.pretext = pretext

    @property
    def smallest_batch(self) -> int:
        """The fewest rotations or tiles that a process gets in one batch."""
        return VIEWS * self.loader.smallest_batch

    def __iter__(self) -> Iterator[Batch]:
        loader, preset = self.loader, self.loader.preset
        seed = derived_seed(loader.seed, loader.stream, "pretext", loader.epoch if loader.augment else "fixed")
        generator = torch.Generator().manual_seed(seed)
        drawn = self.pretext.draw(len(loader.images), preset.image_size, generator)  # of every image of the loader
        for positions, batch in zip(loader.positions(), loader, strict=True):
            choices = tuple(values[positions].to(batch.images.device) for values in drawn)
            yield Batch(*self.pretext.ask(batch.images, choices, preset))
