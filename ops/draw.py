"""Draw a genotype: every cell encoding as a graph, a printed column (8.5 cm) wide unless it has many nodes.

    python -m ops.draw genotypes.json#0 -o cell.svg

The states of a cell stand in a row; an edge is an arc with the name of its operation, the higher the more states it
passes. Of the two edges of a node the first runs above the row and the second below it, so that no two names can meet.
Shaded states, side by side, are what the cell gives. Lengths are in points.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from ops.genotype import SHARINGS, Genotype, GenotypeError, read_candidate
from ops.space import SPACES, EdgeSpace, edges
from utils.system import numbers
from utils.system.command import short_command
from utils.system.errors import UsageError, WorkError
from utils.system.files import write_whole
from utils.system.terminal import OneLineParser, reason

DPI, MAX_PIXELS = 300, 10**8
WIDTH = 8.5 / 2.54 * 72  # of a cell with up to seven states
RADIUS, RISE, STEP, RIM, TITLE = 6.0, 14.0, 34.0, 9.0, 11.0  # RISE: of an arc for each state that it goes on
LETTERS = 9  # of a name in a line: more do not fit between two states
FONT = "DejaVu Sans"  # matplotlib brings this font along: the same everywhere

# How lines look. The family by dashes and the kernel by weight, so that both survive print in gray; color only helps.
DOTS, POOL, DILATED = (0, (1, 2.2)), "#0065a4", "#a63f00"
STYLES = {
    "shuffle_3x3": ("-", 0.7, "black"),
    "shuffle_5x5": ("-", 1.5, "black"),
    "avg_pool_3x3": ((0, (4, 1.6)), 0.9, POOL),
    "max_pool_3x3": ((0, (7, 1.5, 1.2, 1.5)), 0.9, POOL),
    "conv_1x1": ((0, (1, 1.1)), 1.1, DILATED),
    "sep_conv_3x3": ("-", 0.7, "black"),
    "sep_conv_5x5": ("-", 1.5, "black"),
    "sep_conv_7x7": ("-", 2.1, "black"),
    "dil_conv_3x3": ((0, (2.2, 1.2)), 0.7, DILATED),
    "dil_conv_5x5": ((0, (2.2, 1.2)), 1.5, DILATED),
    "conv_7x1_1x7": ((0, (6, 1.2, 1, 1.2, 1, 1.2)), 1.1, DILATED),
    "skip_connect": (DOTS, 1.1, "0.35"),
    "identity": (DOTS, 1.1, "0.35"),
    "nor_conv_1x1": ((0, (1, 1.1)), 1.1, DILATED),
    "nor_conv_3x3": ("-", 0.7, "black"),
}
PLAIN = ("-", 0.7, "black")  # an operation that has no style of its own


class Arc(NamedTuple):
    """An edge as it is drawn: from the state that it reads to the one that it enters, ``side`` 1 above, -1 below."""

    source: int
    target: int
    operation: str
    side: int


def arcs(genotype: Genotype, index: int) -> tuple[list[Arc], list[str], Sequence[int]]:
    """The edges of a cell, the names of its states, and the states that it gives."""
    space, encoding = SPACES[genotype.space], genotype.cells[index]
    if isinstance(space, EdgeSpace):
        last, named = space.wires[-1][1], zip(space.wires, encoding, strict=True)
        lines = [Arc(*wire, space.operations[op], -1 if wire[0] else 1) for wire, op in named]
        # Edges of zeros carry nothing, and are left out.
        return [arc for arc in lines if arc.operation != "none"], ["in", *map(str, range(1, last)), "out"], (last,)
    lines = [
        Arc(edge.input, node, space.known[edge.op], side)
        for node, pair in enumerate(edges(encoding), 2)
        for edge, side in zip(pair, (1, -1), strict=True)
    ]
    return lines, ["s0", "s1", *map(str, range(len(encoding) // 4))], genotype.given(index)


def draw(genotype: Genotype) -> Figure:
    """Draw all cells as a figure outside of pyplot: a column of up to 4, else a grid in reading order."""
    cells = [arcs(genotype, index) for index in range(len(genotype.cells))]
    columns = 1 if len(cells) <= 4 else max(2, math.ceil(math.sqrt(len(cells) / 6)))
    rows = math.ceil(len(cells) / columns)
    width = max(WIDTH, *(STEP * len(names) for _, names, _ in cells))
    # Room above and below the row of states for the highest arcs, alike in all cells.
    spans = {s: max((a.target - a.source for c in cells for a in c[0] if a.side == s), default=0) for s in (1, -1)}
    top, bottom = spans[1] * RISE + RIM + TITLE, -spans[-1] * RISE - RIM
    figure = Figure(figsize=(columns * width / 72, rows * (top - bottom) / 72), dpi=DPI)
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set(xlim=(0, width), ylim=(bottom, top))
        axes.set_axis_off()
        if index < len(cells):
            title = ("normal cell", "reduction cell")[index] if genotype.sharing == "type" else None
            _write(axes, 2, top - 1, title or f"{genotype.sharing} {index}", ha="left", va="top", size=7)
            _draw_cell(axes, width / len(cells[index][1]), *cells[index])
    return figure


def _draw_cell(axes: Axes, step: float, lines: Sequence[Arc], names: Sequence[str], given: Sequence[int]) -> None:
    x = [(state + 0.5) * step for state in range(len(names))]
    for source, target, operation, side in lines:
        dashes, weight, colour = STYLES.get(operation, PLAIN)
        arc = f"arc3,rad={-side * 2 * RISE / step}"  # which rises by half of that share of its length
        look = {"ls": dashes, "lw": weight, "color": colour, "shrinkA": RADIUS, "shrinkB": RADIUS}
        ends = {"posA": (x[source], 0), "posB": (x[target], 0)}
        axes.add_patch(FancyArrowPatch(**ends, connectionstyle=arc, arrowstyle="-|>", mutation_scale=5, **look))
        text, middle = "\n".join(wrap(operation.replace("_", " "), LETTERS)), (x[source] + x[target]) / 2
        _write(axes, middle, side * (target - source) * RISE, text, size=5.5, bbox={"fc": "white", "lw": 0, "pad": 0.3})
    for state, name in enumerate(names):
        shade = "0.85" if state in given else "white"
        axes.add_patch(Circle((x[state], 0), RADIUS, fc=shade, ec="black", lw=0.7, zorder=3))
        _write(axes, x[state], 0, name)


def _write(axes: Axes, x: float, y: float, text: str, **how) -> None:
    how = {"ha": "center", "va": "center", "size": 6, "linespacing": 1.0, **how}
    axes.text(x, y, text, family=FONT, usetex=False, color="black", zorder=4, **how)


def render(genotype: Genotype, extension: str, dpi: int = DPI) -> bytes:
    """Make the content of a file: the same bytes for the same genotype and the same matplotlib."""
    with style.context(["default", {"svg.hashsalt": "ops.draw", "pdf.fonttype": 42}]):
        figure = draw(genotype)
        if extension == "png" and math.prod(figure.get_size_inches()) * dpi**2 > MAX_PIXELS:
            raise UsageError("too many pixels for a png: lower --dpi, or draw an svg")
        content, undated = io.BytesIO(), {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(content, format=extension, dpi=dpi, metadata=undated.get(extension))
    return content.getvalue()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    example = "example: python -m ops.draw genotypes.json#0 -o cell.svg"
    parser = OneLineParser("python -m ops.draw", description="Draw a genotype.", epilog=example, allow_abbrev=False)
    parser.add_argument("genotype", help="a genotypes.json, genotypes.json#RANK, a name, or a list, as --arch")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="an .svg, .png or .pdf file")
    parser.add_argument("--sharing", choices=SHARINGS, help="default: what the file states, else type")
    dpi = numbers.whole(50, 1200)
    parser.add_argument("--dpi", type=dpi, default=DPI, help="of a png: 50 to 1200, default %(default)s")
    args = parser.parse_args(argv)
    name, folder = args.output, os.path.dirname(args.output) or "."
    args.extension = os.path.splitext(name)[1].lower().removeprefix(".")
    if args.extension not in ("svg", "png", "pdf"):
        parser.error(f"-o {name} does not end in .svg, .png or .pdf")
    if not os.path.isdir(folder):
        parser.error(f"-o {name}: there is no folder {folder}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 0 when done, 1 for a fault while writing, 2 for wrong use."""

    def work() -> None:
        args = _parse(argv)
        content = render(read_candidate(args.genotype, args.sharing).genotype, args.extension, args.dpi)
        try:
            write_whole(Path(os.path.realpath(args.output)), lambda file: file.write(content))
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            raise WorkError(f"{args.output} cannot be written: {getattr(error, 'strerror', reason(error))}") from None

    return short_command("ops.draw", work, GenotypeError)


if __name__ == "__main__":
    sys.exit(main())
