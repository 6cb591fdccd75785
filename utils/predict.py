"""Class probabilities of images, printed and written as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


@torch.inference_mode()
def probabilities(network: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """For every image of the batches (n, 3, S, S) its class probabilities, (K,), on the CPU."""
    network.eval()
    for images in batches:
        yield from network(images)[0].softmax(dim=1).cpu()


def top_line(name: str, values: Tensor, classes: Sequence[str], k: int = 5) -> str:
    """``name: class 0.97, class 0.02, ...``: the likeliest classes."""
    best = values.topk(min(k, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return f"{name}: " + ", ".join(f"{classes[i]} {value:.4f}" for i, value in pairs)


def write_csv(path: Path, rows: Iterable[tuple[str, Tensor]], classes: Sequence[str]) -> None:
    """One line an image: name, class, and the probability of every class."""
    # Names of files that are no UTF-8 keep their bytes, so that a reader finds the files by them.
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class", *classes])
        for name, values in rows:
            writer.writerow([name, classes[int(values.argmax())], *(f"{v:.6f}" for v in values.tolist())])
