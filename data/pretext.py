"""Questions that images answer without labels: how they are turned, how tiles lie (docs/method.md, section 20)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from data.loaders import Batch, Loader
from data.presets import Preset
from data.wrapping import WrappedLoader
from utils.system.seeds import derived_seed

VIEWS = 4  # of an image that a network is shown: its rotations, or its tiles
GRID = 2  # tiles in a row and in a column
TILE = 0.76  # of the side of its patch
GRAY = 0.3  # probability that a tile is gray
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
ORDERS = torch.tensor(list(permutations(range(VIEWS))))  # (24, 4): the tile at each place, by label
Choices = tuple[Tensor, ...]


@dataclass(frozen=True)
class Pretext:
    """A question that needs no labels.

    ``draw(n, side, generator)``: the random choices for n images, tensors (n, ...). ``ask(images, choices, preset)``:
    what a network is shown of normalised images (n, 3, S, S), VIEWS times as many, and the right answers. ``side``: of
    what it is shown. ``says``: that side in words, for messages; it takes ``shown`` and ``image``.
    ``whole``: whether that is whole images, of which it is then the rotation that is asked for.
    """

    draw: Callable[[int, int, torch.Generator], Choices]
    ask: Callable[[Tensor, Choices, Preset], tuple[Tensor, Tensor]]
    side: Callable[[int], int]
    says: str
    whole: bool


def turn(images: Tensor, _choices: Choices = (), _preset: Preset | None = None) -> tuple[Tensor, Tensor]:
    """Images (n, 3, S, S) in their four rotations (4 n, 3, S, S): all as they are, all turned once to the left, ...

    The answers (4 n,) say how many times each was turned.
    """
    turned = torch.cat([images.rot90(k, (2, 3)) for k in range(VIEWS)])  # (4 n, 3, S, S)
    return turned, torch.arange(VIEWS, device=images.device).repeat_interleave(len(images))


def tile_side(side: int) -> int:
    """The side of a tile of images of a side: 12 at 32."""
    return max(1, int(TILE * (side // GRID)))


def draw_tiles(n: int, side: int, generator: torch.Generator) -> Choices:
    """For each of n images: its order (n,), where each tile lies in its patch (n, 4, 2), which are gray (n, 4)."""
    gaps = side // GRID - tile_side(side) + 1
    order = torch.randint(len(ORDERS), (n,), generator=generator)
    place = torch.randint(gaps, (n, VIEWS, 2), generator=generator)
    return order, place, torch.rand(n, VIEWS, generator=generator) < GRAY


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


def puzzle(images: Tensor, choices: Choices, preset: Preset) -> tuple[Tensor, Tensor]:
    """The tiles (4 n, 3, t, t) of images (n, 3, S, S), those of an image in a row, in an order: the answer (n,).

    The tile at place i of order k is number ORDERS[k, i], counted row by row.
    """
    order, place, gray = choices
    tiles = by_itself(grayed(cut(images, place), gray, preset))  # (n, 4, 3, t, t)
    rows = torch.arange(len(images), device=images.device)[:, None]  # (n, 1)
    return tiles[rows, ORDERS.to(images.device)[order]].flatten(0, 1), order


# By the name that --task takes.
PRETEXTS = {
    "rotation": Pretext(lambda _n, _side, _generator: (), turn, lambda side: side, "image size {image}", True),
    "jigsaw": Pretext(draw_tiles, puzzle, tile_side, "a jigsaw's tile of {shown} pixels, of images of {image},", False),
}


def reads_labels(task: str) -> bool:
    """Whether the task of a name takes labels from the data."""
    return task not in PRETEXTS


def shows_tiles(task: str) -> bool:
    """Whether networks are shown tiles of images under the task of a name."""
    return task in PRETEXTS and not PRETEXTS[task].whole


def shown_size(task: str, image_size: int) -> tuple[int, str]:
    """The side of what a network sees of images under a task, and how a message calls it."""
    pretext = PRETEXTS.get(task)
    side = image_size if pretext is None else pretext.side(image_size)
    said = "image size {image}" if pretext is None else pretext.says
    return side, said.format(shown=side, image=image_size)


def ill_posed(task: str, name: str, preset: Preset) -> str | None:
    """What is wrong with a task on the data set of a name, in one line; None where nothing is known to be."""
    if task not in PRETEXTS or not PRETEXTS[task].whole or not preset.no_up:
        return None
    others = " or ".join(f"--task {other}" for other, pretext in PRETEXTS.items() if not pretext.whole)
    return f"warning: --task {task} asks of {name} what cannot be answered, {preset.no_up}: use {others}"


class PretextLoader(WrappedLoader):
    """The batches of a loader with the questions and answers of a pretext in place of images and labels.

    What is asked of an image depends on the seed, the stream, the image and, where images are augmented, the epoch; not
    on batches or processes. Sizes are those of the loader: so many images of the data.
    """

    views = VIEWS

    def __init__(self, loader: Loader, pretext: Pretext) -> None:
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
            yield Batch(*self.pretext.ask(batch.images, choices, preset), batch.weight)


def asked(loaders: Mapping[str, Loader], task: str) -> dict[str, Loader | PretextLoader]:
    """The loaders as they are, or with the questions of a task that needs no labels."""
    pretext = PRETEXTS.get(task)
    return {name: loader if pretext is None else PretextLoader(loader, pretext) for name, loader in loaders.items()}
