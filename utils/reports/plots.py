"""Pictures for TensorBoard and reports. matplotlib is imported where it is needed; pyplot never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.35  # inches: one column of a page
STYLES = ("-", "--", ":", "-.")
WRITTEN, LETTERS = 20, 24  # columns of a heat map whose values are written; letters of a name that are shown
MARKERS = ("o", "s", "^", "v", "D", "P", "x", "+", "1", "2")

Points = Sequence[tuple[float, float]]


def _figure(width: float = WIDTH, height: float = 2.6) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def heat_map(rows: Mapping[str, Sequence[float]], columns: Sequence[str], title: str) -> Figure:
    """Draw a table of shares in [0, 1]; rows may differ in length, and values are written where they fit.

    The page grows with the table, so that names can be read; they are drawn as they are spelt.
    """
    fits = len(columns) <= WRITTEN
    cell, size = (0.3, 6) if fits else (0.12, 5)  # inches, points
    figure = _figure(1.8 + cell * len(columns), 1.8 + cell * len(rows))
    axes = figure.add_subplot()
    # Nodes have different numbers of inputs: shorter rows end in cells that stay white.
    table = [[*values, *[float("nan")] * (len(columns) - len(values))] for values in rows.values()]
    axes.imshow(table, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    for y, values in enumerate(table if fits else ()):
        for x, value in enumerate(values):
            if value == value:  # not nan
                colour = "white" if value > 0.5 else "black"  # on a dark cell
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=size, color=colour, in_layout=False)
    style = {"fontsize": size, "parse_math": False}  # a name with two dollars: no formula
    axes.set_xticks(range(len(columns)), map(_short, columns), rotation=90, **style)
    axes.set_yticks(range(len(rows)), map(_short, rows), **style)
    axes.set_title(title, fontsize=7)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


def panels(by_axis: Mapping[str, Mapping[str, Points]], y: str, *, lines: bool = False) -> Figure:
    """Draw points, or ``lines``, of several names, a panel for each name of a horizontal axis; up to three in a row.

    Markers and styles differ, so that grey print is enough.
    """
    columns = min(3, len(by_axis))  # more are too small to read in a report
    rows = -(-len(by_axis) // columns)  # rounded up
    figure = _figure(WIDTH * max(1.0, 0.8 * columns), 2.6 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes in grid[len(by_axis) :]:
        axes.set_visible(False)
    for i, (axes, (x, series)) in enumerate(zip(grid, by_axis.items(), strict=False)):
        for number, (name, points) in enumerate(series.items()):
            style = STYLES[number % len(STYLES)] if lines else MARKERS[number % len(MARKERS)]
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=3, alpha=0.8, linewidth=1)
        axes.locator_params(axis="x", nbins=5)
        _label(axes, x, y if i % columns == 0 else "")
        if i == 0 and any(series):  # one legend serves for all
            axes.legend(fontsize=6, frameon=False)
    return figure


def _label(axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=7)
    axes.set_ylabel(y, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.xaxis.get_offset_text().set_fontsize(6)
    axes.grid(alpha=0.3, linewidth=0.5)
