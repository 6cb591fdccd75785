"""Speed of reading and augmenting images, ours beside the usual per-image way, in one run.

    python -m benchmarks.data [--images 20000] [--json FILE]

Small images: PIL, crop, flip, ToTensor, Normalize and cutout one image at a time without workers, against
TensorLoader. Photographs: the transforms alone, and as batches of workers. Medians of several passes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common import make_parser, measure
from data.images import Images
from data.loaders import LargeImageLoader, TensorLoader
from data.presets import CIFAR10, large, small
from data.transforms import training_transform
from utils.reports.log import write_json
from utils.system.numbers import positive_int

SIZE = 256  # pixels of decoded photographs
OPTIONS = {"device": torch.device("cpu"), "seed": 0, "stream": "benchmark", "augment": True, "shuffle": True}


class PerImage(Dataset):
    """Small images the usual way: an array, PIL, torchvision's transforms, and a square of zeros (arXiv 1708.04552)."""

    def __init__(self, images: Images) -> None:
        self.arrays, self.labels = images.pixels.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        crops = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]  # as papers on CIFAR have it
        self.transform = transforms.Compose([*crops, transforms.ToTensor(), transforms.Normalize(*CIFAR10)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.transform(Image.fromarray(self.arrays[index]))
        row, column = np.random.randint(0, 32, 2)
        image[:, max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0  # 16x16, clipped at the border
        return image, self.labels[index]


def rates(ways: dict[str, Callable[[], int]], repeats: int) -> dict[str, float]:
    """Images a second: the median of ``repeats`` passes of each way, in turns, after one to warm up."""
    counts = [way() for way in ways.values()]
    times = measure([*ways.values()], repeats, OPTIONS["device"], warmup=0)
    medians = [statistics.median(times[way :: len(ways)]) for way in range(len(ways))]
    return {name: count / median for name, count, median in zip(ways, counts, medians, strict=True)}


def small_images(count: int, batch_size: int, repeats: int) -> dict[str, float]:
    """Both pipelines on random 32x32 images, one pass over ``count`` of them."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = Images(torch.randint(10, (count,), generator=generator), 32, pixels)
    usual = DataLoader(PerImage(images), batch_size, shuffle=True)
    ours = TensorLoader(images, small(32, CIFAR10), batch_size=batch_size, **OPTIONS)
    ways = {"per image": lambda: sum(len(labels) for _, labels in usual)}
    return rates(ways | {"whole batches": lambda: sum(len(batch.labels) for batch in ours)}, repeats)


def photo_transforms(count: int, repeats: int) -> dict[str, float]:
    """Training transforms of decoded 256x256 images: alone, and as batches of LargeImageLoader."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    images, preset = Images(torch.zeros(count, dtype=torch.long), SIZE, pixels), large()
    transform = training_transform(preset)

    def batches(workers: int) -> Callable[[], int]:
        loader = LargeImageLoader(images, preset, workers=workers, batch_size=32, **OPTIONS)
        return lambda: sum(len(batch.labels) for batch in loader)

    ways = {"transforms alone": lambda: len([transform(image) for image in pixels])}
    return rates(ways | {f"LargeImageLoader, {workers} workers": batches(workers) for workers in (0, 2)}, repeats)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all groups, and print images a second of each way."""
    p = make_parser("benchmarks.data", __doc__)
    p.add_argument("--images", type=positive_int, default=20_000, help="32x32 images in a pass (20000)")
    p.add_argument("--photos", type=positive_int, default=64, help="photographs in a pass (64)")
    p.add_argument("--batch_size", type=positive_int, default=96, help="of the 32x32 images (96)")
    p.add_argument("--repeats", type=positive_int, default=5, help="passes of which the median is taken (5)")
    args = p.parse_args(argv)
    groups = {f"32x32, batches of {args.batch_size}": small_images(args.images, args.batch_size, args.repeats)}
    groups[f"{SIZE}x{SIZE} to 224x224, augmented"] = photo_transforms(args.photos, args.repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {args.repeats}, images/s")
    for group, ways in groups.items():
        print(f"\n{group}")
        first = next(iter(ways.values()))
        for name, rate in ways.items():
            print(f"  {name:24}{rate:12,.0f}{rate / first:8.2f}x")
    if args.json:
        write_json(args.json, {"torch": torch.__version__, "threads": torch.get_num_threads(), "images_per_s": groups})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
