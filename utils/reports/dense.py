"""What reports of masks and of boxes share: colours, pictures in rows, and names of the files of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.system.errors import UsageError
from utils.system.palette import palette
from utils.system.terminal import reason, show

PREDICTIONS = Path("predictions")  # the folder, where the command is run
SHOWN = 4  # images in a picture of predictions


class FirstBatch:
    """The first images of a loader, read once, as a loader of one batch."""

    def __init__(self, loader: Any, most: int = SHOWN) -> None:
        loader.set_epoch(0)
        batch = next(iter(loader))
        self.preset, self.batch = loader.preset, batch._replace(images=batch.images[:most], labels=batch.labels[:most])

    def set_epoch(self, _epoch: int) -> None:
        """It is the same in every epoch."""

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch])


def coloured(ids: Tensor) -> Tensor:
    """Class ids (H, W) as colours, uint8 (H, W, 3)."""
    return torch.tensor(palette(), dtype=torch.uint8).view(256, 3)[ids.long().cpu()]


def as_shown(image: Tensor, preset: Any) -> Tensor:
    """A normalised image (3, H, W) as uint8 (H, W, 3)."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preset.mean, preset.std))
    return ((image.float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def rows_figure(rows: Sequence[Sequence[Any]], titles: Sequence[str], names: Sequence[tuple[str, Any]] = ()) -> Any:
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
        handles = [Patch(color=colour, label=show(name).replace("$", r"\$")) for name, colour in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small")
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
