"""Class probabilities of images, printed and written as CSV while they come."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from models.folding import folded
from utils.system.errors import UsageError
from utils.system.files import write_whole
from utils.system.terminal import show, tell


@torch.inference_mode()
def probabilities(network: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """For every image of the batches (n, 3, S, S) its class probabilities, (K,), on the CPU."""
    network.eval()
    for images in batches:
        yield from network(images)[0].softmax(dim=1).cpu()


def top_line(name: str, values: Tensor, classes: Sequence[str], k: int = 5) -> str:
    """``name: class 0.97, class 0.02, ...``: the likeliest classes, in one line that any console can show."""
    best = values.topk(min(k, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return f"{show(name)}: " + ", ".join(f"{show(classes[i])} {value:.4f}" for i, value in pairs)


def write_csv(path: Path, rows: Iterable[tuple[str, Tensor]], classes: Sequence[str]) -> None:
    """One line an image: name, class, and the probability of every class; in UTF-8, whole or not at all.

    The rows are written as they come, none is kept. Names that are not UTF-8 keep their bytes.
    """

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(text)
        writer.writerow(["image", "class", *classes])
        for name, values in rows:
            writer.writerow([name, classes[int(values.argmax())], *(f"{v:.6f}" for v in values.tolist())])
        text.detach()  # which flushes it, and leaves the file open

    write_whole(path, write)


def predict_pictures(
    network: nn.Module, pictures: Any, batches: Iterable[tuple[list[str], Tensor]], names: Sequence[str], path: Path
) -> Tensor:
    """Print the likeliest outputs of pictures and write them to ``path``, both as the batches of (names, images) come.

    ``pictures``: says what was left out. Returns the images of the first batch. Raises UsageError where there is none.
    """
    first: list[Tensor] = []
    network = folded(network)

    def rows() -> Iterator[tuple[str, Tensor]]:
        for found, images in batches:
            first[:] = first or [images]
            for name, values in zip(found, probabilities(network, [images]), strict=True):
                tell(top_line(name, values, names))
                yield name, values
        require_pictures(first, pictures)

    write_csv(path, rows(), names)
    tell(f"written to {path}{left_out(pictures)}")
    return first[0]


def require_pictures(first: Sequence[Tensor], pictures: Any) -> None:
    """Raise UsageError where there is no first batch."""
    if not first:
        raise UsageError(
            f"--predict {show(pictures.path)}: no image was found; left out: {pictures.left_out() or 'none'}"
        )


def left_out(pictures: Any) -> str:
    """The end of a line that says where predictions are."""
    found = pictures.left_out()
    return f"; left out: {found}" if found else ""
