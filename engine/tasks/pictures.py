"""Pictures that tasks draw, and the files of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from utils.system.errors import UsageError
from utils.system.terminal import reason, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREDICTIONS = Path("predictions")  # the folder, where the command is run
SHOWN = 4  # images in a picture of predictions
DRAWN_CLASSES = 100  # a confusion matrix of a thousand takes 9 GB of memory, and nobody can read it
WRITTEN_CLASSES = 20  # up to here the numbers of a confusion matrix fit into its squares


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
    """Draw a confusion matrix, row true: shade = share of the true class; counts are written where they fit.

    The page grows with the classes, so that their names can be read. Names are drawn as they are spelt.
    """
    from matplotlib.figure import Figure

    k, matrix = len(classes), torch.tensor(confusion)
    side = 2.5 + k * (0.45 if k <= WRITTEN_CLASSES else 0.15)
    figure = Figure(figsize=(side + 1, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shares = (100 * matrix / matrix.sum(1, keepdim=True).clamp(min=1)).tolist()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="% of the true class")
    names = [name if len(name) <= 24 else name[:23] + "…" for name in map(show, classes)]
    style = {"fontsize": 9 if k <= WRITTEN_CLASSES else 7, "parse_math": False}  # a name with two dollars: no formula
    axes.set_xticks(range(k), names, rotation=90, **style)
    axes.set_yticks(range(k), names, **style)
    axes.set(xlabel="predicted", ylabel="true")
    if k <= WRITTEN_CLASSES:
        for row, column in matrix.nonzero().tolist():
            colour = "white" if shares[row][column] > 50 else "black"
            count = str(int(matrix[row, column]))
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    return figure


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
        left = pictures.left_out() or "none"
        raise UsageError(f"--predict {show(pictures.path)}: no image was found; left out: {left}")


def left_out(pictures: Any) -> str:
    """The end of a line that says where predictions are."""
    files = pictures.left_out()
    return f"; left out: {files}" if files else ""
