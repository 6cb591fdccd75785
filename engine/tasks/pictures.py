"""Pictures that tasks draw, and the files of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from utils.reports.plots import heat_map
from utils.system.errors import UsageError
from utils.system.terminal import reason, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREDICTIONS = Path("predictions")  # the folder, where the command is run
SHOWN = 4  # images in a picture of predictions
DRAWN_CLASSES = 100  # a confusion matrix of a thousand takes 9 GB of memory, and nobody can read it


def colours() -> Tensor:
    """The colours of class ids, uint8 (256, 3), black first and 255 light grey: their bits spread over the channels."""
    ids, bits, channels = torch.arange(255)[:, None, None], torch.arange(8), torch.arange(3)[:, None]
    # Of every three bits red, green and blue take one each, as in VOC; the first three are their highest bits.
    values = (((ids >> (3 * bits + channels)) & 1) << (7 - bits)).sum(2)  # (255, 3)
    return torch.cat([values, torch.tensor([[224, 224, 192]])]).to(torch.uint8)


def pixels_of(image: Tensor, preset: Any) -> Tensor:
    """A normalised image (3, H, W) as uint8 (H, W, 3)."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preset.mean, preset.std))
    return ((image.float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def rows_figure(rows: Sequence[Sequence[Any]], titles: Sequence[str], names: Sequence[tuple[str, Tensor]]) -> Figure:
    """A figure of images (H, W, 3) in rows, with a title above each column and a legend of (name, colour)."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(3 * len(titles), 3 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, images in zip(axes, rows, strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image)
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    if names:
        handles = [Patch(color=(colour / 255).tolist(), label=show(name).replace("$", r"\$")) for name, colour in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small")
    return figure


def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix, row true, column predicted."""
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    names = [show(name) for name in classes]
    return heat_map(dict(zip(names, shares, strict=True)), names, "share of the true class, predicted as")


def prediction_path(name: str, ending: str) -> Path:
    """Where the prediction of a picture goes; its folder is made. The whole name is kept, since endings may differ.

    Raises UsageError where it cannot be made.
    """
    path = PREDICTIONS / f"{name}{ending}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--predict writes to the folder {show(path.parent)}: {reason(error)}") from None
    return path


def require_pictures(first: Sequence[Tensor], pictures: Any) -> None:
    """Raise UsageError where there is no first batch."""
    if not first:
        raise UsageError(f"--predict {show(pictures.path)}: no image was found{left_out(pictures)}")


def left_out(pictures: Any) -> str:
    """The end of a line that says where predictions are."""
    return f"; left out: {pictures.left_out} that are no pictures, or hidden" if pictures.left_out else ""
