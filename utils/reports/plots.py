"""Pictures for TensorBoard and reports. matplotlib is imported where it is needed; pyplot never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.35  # inches: one column of a page
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "v", "D", "P", "x", "+", "1", "2")


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


def pareto_plot(
    points: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], cost: str, score: str
) -> Figure:
    """Draw (cost, score) of all candidates, and the Pareto front among them as a line."""
    figure = _figure()
    axes = figure.add_subplot()
    axes.plot(*zip(*points, strict=True), "o", color="0.6", markersize=3, label="candidates")
    axes.plot(*zip(*front, strict=True), "o-", color="black", markersize=4, label="Pareto front")
    _label(axes, cost, score)
    return figure


def curves(series: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> Figure:
    """Draw several curves over the same axis; line styles differ, so that grey print is enough."""
    figure = _figure()
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(series.items()):
        axes.plot(*zip(*points, strict=True), STYLES[i % len(STYLES)], label=name, linewidth=1)
    _label(axes, x, y)
    return figure


def scatters(panels: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> Figure:
    """Draw points side by side, a panel under each title, over the same vertical axis; up to three in a row."""
    # More than three in a row are too small to read in a report.
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)  # rounded up
    figure = _figure(WIDTH * max(1.0, 0.75 * columns), 2.6 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for i, (title, points) in enumerate(panels.items()):
        axes = grid.flat[i]
        axes.plot(*zip(*points, strict=True), "o", color="black", markersize=3, alpha=0.6)
        axes.set_title(title, fontsize=7)
        axes.locator_params(axis="x", nbins=4)
        _label(axes, x, y if i % columns == 0 else "")
    return figure


def clouds(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], y: str) -> Figure:
    """Draw points of several names, each with a marker of its own, a panel for each title of a horizontal axis."""
    figure = _figure(WIDTH * max(1.0, 0.85 * len(panels)))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (x, series) in zip(grid, panels.items(), strict=True):
        for i, (name, points) in enumerate(series.items()):
            marker, style = MARKERS[i % len(MARKERS)], {"markersize": 4, "alpha": 0.8, "markeredgewidth": 1}
            axes.plot(*zip(*points, strict=True), marker, label=name, **style)
        _label(axes, x, y if axes is grid[0] else "")
        axes.locator_params(axis="x", nbins=5)
        axes.get_legend().remove()  # one serves for all panels, beside them
    figure.legend(*grid[0].get_legend_handles_labels(), fontsize=6, frameon=False, loc="outside right upper")
    return figure


def bands(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]], x: str, y: str, of_mean: bool = False
) -> Figure:
    """Draw curves with their mean and std over repetitions, a panel under each title.

    A curve is a list of repetitions, each with points (x, y) at the same x. ``of_mean``: a band is the 95 % interval of
    the mean, not the std of a repetition.
    """
    import numpy as np

    figure = _figure(WIDTH * max(1.0, 0.85 * len(panels)))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, series) in zip(grid, panels.items(), strict=True):
        for i, (name, repetitions) in enumerate(series.items()):
            # The same x in all repetitions, so that mean and deviation are taken point by point.
            points = np.asarray(repetitions, dtype=float)  # (repetitions, points, 2)
            at, mean, std = points[0, :, 0], points[..., 1].mean(0), points[..., 1].std(0)
            if of_mean:
                std = 1.96 * std / len(points) ** 0.5
            (line,) = axes.plot(at, mean, STYLES[i % len(STYLES)], label=name, linewidth=1)
            axes.fill_between(at, mean - std, mean + std, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set_title(title, fontsize=7)
        _label(axes, x, y if axes is grid[0] else "")
    return figure


def _label(axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=7)
    axes.set_ylabel(y, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.xaxis.get_offset_text().set_fontsize(6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6, frameon=False)
    axes.grid(alpha=0.3, linewidth=0.5)
