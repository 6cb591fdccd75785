"""Draw a genotype: every cell encoding as a graph, each one printed column (8.5 cm) wide.

    python -m ops.draw genotypes.json#0 -o cell.svg

Inputs stand on the left, the output (the nodes that the cell gives) on the right. Nodes stand in columns by depth, each
in a row of its own, and a line changes rows only in the gap behind its source; then it keeps to its target's row. So no
line touches a foreign node or name, and the crossings are settled by trying all orders. Lengths are in points.
"""

import argparse
import io
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, permutations
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.textpath import TextPath

from ops.draw_edges import ABOVE, BELOW, draw_edges
from ops.genotype import SHARINGS, Genotype, GenotypeError, read_candidate
from ops.pens import FONT, draw_box, draw_line, write
from ops.space import SPACES, CellSpace, EdgeSpace, edges
from ops.styles import CONCAT, PLAIN, STYLES
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.files import write_whole
from utils.system.terminal import OneLineParser, complain, show

DPI, MAX_PIXELS = 300, 10**8
WIDTH, GUTTER = 8.5 / 2.54 * 72, 12.0  # of a cell; between two cells
RADIUS, PORT = 5.0, 2.6  # of a node; its two edges enter this far above and below its centre
INPUT, BAR, MARGIN, TAIL, TITLE = 12.0, 9.0, 0.8, 8.0, 11.0  # input, output, rim, gap before output, heading

Wiring = Sequence[tuple[int, int]]  # of each edge the state that it reads and the one that it enters


class Layout(NamedTuple):
    """Where a cell is drawn. By state: layer (its depth) and row, 0 at the top; by layer: x and the room for names."""

    layer: dict[int, int]
    row: dict[int, float]
    x: list[float]
    names: list[float]
    folded: bool


def graph(encoding: Sequence[int]) -> tuple[Wiring, dict[int, int]]:
    """The edges of a cell, and the depth of each state: the longest way to it from an input."""
    wiring, layer = [], {0: 0, 1: 0}
    for state, pair in enumerate(edges(encoding), 2):
        wiring += [(edge.input, state) for edge in pair]
        layer[state] = 1 + max(layer[edge.input] for edge in pair)
    return wiring, layer


def crossings(wiring: Wiring, layer: dict[int, int], row: dict[int, float], given: Sequence[int] | None = None) -> int:
    """Count the pairs of lines that cross: edges, and lines to the output, from the ``given`` states or all nodes."""
    count, given = 0, range(2, len(layer)) if given is None else given
    for gap in range(max(layer.values()) + 1):  # (row where a line enters the gap, row where it leaves it)
        lines = [(row[state], row[state]) for state in given if layer[state] <= gap]
        for source, state in wiring:
            if layer[source] <= gap < layer[state]:
                lines.append((row[source if layer[source] == gap else state], row[state]))
        count += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(lines, 2))
    return count


def best_rows(wiring: Wiring, layer: dict[int, int], given: Sequence[int] | None = None) -> dict[int, float]:
    """Find the rows with the fewest crossings, then the shortest ways; input 0 above 1, both near their readers."""
    nodes = len(layer) - 2  # all states but the two inputs

    def place(order: Sequence[int]) -> dict[int, float]:
        row = {state: float(position) for state, position in enumerate(order, 2)}
        for state, unread in ((0, 1.0), (1, nodes - 2.0)):
            read = [row[target] for target in {target for source, target in wiring if source == state}] or [unread]
            row[state] = sum(read) / len(read)
        if row[1] - row[0] < 1:
            middle = min(max((row[0] + row[1]) / 2, 0.5), nodes - 1.5)
            row[0], row[1] = middle - 0.5, middle + 0.5
        return row

    def cost(row: dict[int, float]) -> tuple[int, float]:
        travel = sum(abs(row[source] - row[state]) for source, state in wiring)
        return crossings(wiring, layer, row, given), round(travel, 6)

    return min(map(place, permutations(range(nodes))), key=cost)


@lru_cache
def _label(op: str, folded: bool) -> tuple[str, float, float]:
    """The name of an operation as it is written, the size of its font and its width."""
    text, size = ("\n".join(op.rsplit("_", 1)), 5.5) if folded else (op, 6.0)
    paths = (TextPath((0, 0), line, size, prop={"family": FONT}) for line in text.split("\n"))
    return text, size, max(path.get_extents().width for path in paths)


def lay_out(
    encoding: Sequence[int], space: CellSpace, given: Sequence[int] | None = None, folded: bool = False
) -> Layout:
    """Spread the layers over the width; where names in one line leave too narrow gaps, fold all of them."""
    wiring, layer = graph(encoding)
    depth = max(layer.values())
    names = [0.0] * (depth + 1)
    for (_, state), op in zip(wiring, encoding[1::2], strict=True):
        names[layer[state]] = max(names[layer[state]], _label(space.known[op], folded)[2] + 1.5)
    taken = 2 * MARGIN + INPUT + RADIUS + sum(names) + depth * 2 * RADIUS + TAIL + BAR
    gap = (WIDTH - taken) / (depth + 0.5)
    if gap < 6 and not folded:
        return lay_out(encoding, space, given, True)
    x, behind = [MARGIN + INPUT / 2], MARGIN + INPUT + RADIUS + 0.5 * gap  # most lines turn in the first gap
    for width in names[1:]:
        x.append(behind + gap + width + RADIUS)
        behind = x[-1] + RADIUS
    return Layout(layer, best_rows(wiring, layer, given), x, names, folded)


def draw(genotype: Genotype) -> Figure:
    """Draw all cells as a figure outside of pyplot: a column of up to 4, else a grid in reading order."""
    space = SPACES[genotype.space]
    if isinstance(space, EdgeSpace):
        figure = Figure(figsize=(WIDTH / 72, (ABOVE + BELOW) / 72), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(-BELOW, ABOVE))
        axes.set_axis_off()
        draw_edges(axes, genotype.cells[0], space, WIDTH)
        return figure
    given = [genotype.given(index) for index in range(len(genotype.cells))]
    places = [lay_out(cell, space, states) for cell, states in zip(genotype.cells, given, strict=True)]
    columns = 1 if len(places) <= 4 else max(2, math.ceil(math.sqrt(len(places) / 6)))
    bands = [places[start : start + columns] for start in range(0, len(places), columns)]
    heights = [TITLE + _rows(band) * (37.0 if any(p.folded for p in band) else 25.0) for band in bands]
    width, height = columns * (WIDTH + GUTTER) - GUTTER, sum(heights) + GUTTER * (len(bands) - 1)
    figure = Figure(figsize=(width / 72, height / 72), dpi=DPI)
    for index, (cell, place) in enumerate(zip(genotype.cells, places, strict=True)):
        down, right = divmod(index, columns)
        left, bottom = right * (WIDTH + GUTTER), height - sum(heights[: down + 1]) - down * GUTTER
        axes = figure.add_axes((left / width, bottom / height, WIDTH / width, heights[down] / height))
        axes.set(xlim=(0, WIDTH), ylim=(-heights[down], 0))
        axes.set_axis_off()
        title = ("normal cell", "reduction cell")[index] if genotype.sharing == "type" else None
        write(axes, MARGIN, -1, title or f"{genotype.sharing} {index}", ha="left", va="top", size=7)
        _draw_cell(axes, cell, place, (heights[down] - TITLE) / _rows([place]), space, given[index])
    return figure


def _rows(band: Sequence[Layout]) -> int:
    """Rows of the cell that has most nodes."""
    return max(len(place.row) - 2 for place in band)


def _draw_cell(
    axes: Axes, encoding: Sequence[int], place: Layout, pitch: float, space: CellSpace, given: Sequence[int]
) -> None:
    at = {s: (place.x[layer], -TITLE - (place.row[s] + 0.5) * pitch) for s, layer in place.layer.items()}
    bar, height = WIDTH - MARGIN - BAR, len(encoding) // 4 * pitch
    for state, pair in enumerate(edges(encoding), 2):
        x, y = at[state]
        if state in given:
            draw_line(axes, [(x, y), (bar - 1, y)], bar, CONCAT)
        # The edge that turns last enters on the side where it comes from, so that the two never cross.
        last = max(place.layer[edge.input] for edge in pair)
        rise = [at[edge.input][1] - y if place.layer[edge.input] == last else 0.0 for edge in pair]
        for edge, side in zip(pair, (1, -1) if rise[0] >= rise[1] else (-1, 1), strict=True):
            _draw_edge(axes, place, at, edge.input, space.known[edge.op], state, side)
        axes.add_patch(Circle((x, y), RADIUS, fc="white", ec="black", lw=0.7, zorder=3))
        write(axes, x, y, str(state - 2))
    for state in (0, 1):
        draw_box(axes, *at[state], INPUT, 11, f"s{state}")
    draw_box(axes, bar + BAR / 2, -TITLE - height / 2, BAR, height - 10, "output", rotation=90)


def _draw_edge(axes: Axes, place: Layout, at: dict, source: int, op: str, state: int, side: int) -> None:
    """A line that turns in the gap behind its source and bears its name where it is level, off the pair."""
    behind, depth = place.layer[source] + 1, place.layer[state]
    start = at[source][0] + (INPUT / 2 if source < 2 else 0)  # a node hides the beginning
    turned = place.x[behind] - RADIUS - place.names[behind]
    middle, y = (start + turned) / 2, at[state][1] + side * PORT
    curve = [(start, at[source][1]), (middle, at[source][1]), (middle, y), (turned, y)]
    tip = at[state][0] - math.sqrt(RADIUS**2 - PORT**2)
    draw_line(axes, [*curve, (tip - 1.5, y)], tip, STYLES.get(op, PLAIN))
    (text, size, _), x = _label(op, place.folded), at[state][0] - RADIUS - place.names[depth] / 2
    write(axes, x, y + side * 1.2, text, va="bottom" if side > 0 else "top", size=size)


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
    parser.add_argument(
        "--dpi", type=numbers.whole(50, 1200), default=DPI, help="of a png: 50 to 1200, default %(default)s"
    )
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
    try:
        args = _parse(argv)
        genotype = read_candidate(args.genotype, args.sharing).genotype
        content = render(genotype, args.extension, args.dpi)
        write_whole(pathlib.Path(os.path.realpath(args.output)), lambda file: file.write(content))
    except (UsageError, GenotypeError) as error:
        complain("ops.draw", show(" ".join(str(error).split())))
        return 2
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        complain("ops.draw", show(f"{args.output} cannot be written: {getattr(error, 'strerror', error)}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
