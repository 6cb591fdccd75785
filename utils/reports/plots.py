"""Pictures for TensorBoard and reports. matplotlib is imported where it is needed; pyplot never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.35  # inches: one column of a page
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "v", "D", "P", "x", "+", "1", "2")

Points = Sequence[tuple[float, float]]


def _figure(width: float = WIDTH, height: float = 2.6) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def heat_map(rows: Mapping[str, Sequence[float]], columns: Sequence[str], title: str) -> Figure:
    """Draw a table of probabilities in [0, 1] with their values; rows may differ in length."""
    figure = _figure(height=0.45 + 0.19 * len(rows))
    axes = figure.add_subplot()
    # Nodes have different numbers of inputs: shorter rows end in cells that stay white.
    table = [[*values, *[float("nan")] * (len(columns) - len(values))] for values in rows.values()]
    axes.imshow(table, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    for y, values in enumerate(table):
        for x, value in enumerate(values):
            if value == value:  # not nan
                colour = "white" if value > 0.5 else "black"  # on a dark cell
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=5, color=colour)
    axes.set_xticks(range(len(columns)), columns, fontsize=5)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=5)
    axes.set_title(title, fontsize=7)
    return figure


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


def bands(series: Mapping[str, Sequence[Points]], x: str, y: str) -> Figure:
    """Draw curves as the mean of their repetitions, which have the same x, with the 95 % interval of that mean."""
    import numpy as np

    figure = _figure()
    axes = figure.add_subplot()
    for i, (name, repetitions) in enumerate(series.items()):
        # The same x in all repetitions, so that mean and deviation are taken point by point.
        points = np.asarray(repetitions, dtype=float)  # (repetitions, points, 2)
        at, mean, half = points[0, :, 0], points[..., 1].mean(0), 1.96 * points[..., 1].std(0) / len(points) ** 0.5
        (line,) = axes.plot(at, mean, STYLES[i % len(STYLES)], label=name, linewidth=1)
        axes.fill_between(at, mean - half, mean + half, color=line.get_color(), alpha=0.15, linewidth=0)
    _label(axes, x, y)
    axes.legend(fontsize=6, frameon=False)
    return figure


def _label(axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=7)
    axes.set_ylabel(y, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.xaxis.get_offset_text().set_fontsize(6)
    axes.grid(alpha=0.3, linewidth=0.5)
