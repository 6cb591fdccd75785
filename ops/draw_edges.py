"""Draw a cell whose graph is fixed: its states in a row, and over and under them the operations of its edges."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from ops.pens import draw_box, draw_line, write
from ops.space import EdgeSpace
from ops.styles import PLAIN, STYLES

ABOVE, BELOW = 52.0, 30.0  # room of the drawing above and below its states, in points
RADIUS, MARGIN, BOX = 5.0, 14.0, 26.0
RISE = 20.0  # of an edge that passes one state, and as much again for each further one


def draw_edges(axes: Axes, encoding: Sequence[int], space: EdgeSpace, width: float) -> None:
    """Draw a cell around the height 0. Edges of the operation ``none`` carry nothing, and are left out."""
    last = space.wires[-1][1]
    x = [MARGIN + state * (width - 2 * MARGIN) / last for state in range(last + 1)]
    for (source, target), op in zip(space.wires, encoding, strict=True):
        name = space.operations[op]
        if name == "none":
            continue
        # Neighbours are joined by a straight line, others by an arc: from the input above the states, else below.
        rise = (target - source - 1) * RISE * (1 if source == 0 else -1)
        start, end = x[source] + (RADIUS if source else BOX / 2), x[target] - (BOX / 2 if target == last else RADIUS)
        bend = 4 / 3 * rise  # a curve rises to three quarters of the points that bend it
        points = [(start, 0.0), (start + (end - start) / 4, bend), (end - (end - start) / 4, bend), (end - 1.5, 0.0)]
        draw_line(axes, [*points, (end - 1.5, 0.0)], end, STYLES.get(name, PLAIN))
        write(axes, (start + end) / 2, rise + (3.5 if rise >= 0 else -3.5), name, size=5.5)
    for state in range(1, last):
        axes.add_patch(Circle((x[state], 0), RADIUS, fc="white", ec="black", lw=0.7, zorder=3))
        write(axes, x[state], 0, str(state))
    draw_box(axes, x[0], 0, BOX, 11, "input")
    draw_box(axes, x[last], 0, BOX, 11, "output")
