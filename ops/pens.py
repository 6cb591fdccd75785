"""Lines, boxes and words of drawings. Lengths are in points."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

FONT = "DejaVu Sans"  # matplotlib brings this font along: the same everywhere


def draw_line(axes: Axes, points: list[tuple[float, float]], tip: float, look: dict) -> None:
    """A curve through these points, of which those in the middle bend it, with its head at ``tip``."""
    codes = [Path.MOVETO, *[Path.CURVE4] * (len(points) - 2), Path.LINETO]
    axes.add_patch(PathPatch(Path(points, codes), fill=False, capstyle="butt", zorder=1, **look))
    head = [(tip - back, points[-1][1] + up) for back, up in ((0, 0), (3.6, 1.5), (3.6, -1.5))]
    axes.add_patch(Polygon(head, fc=look["ec"], lw=0, zorder=2))


def draw_box(axes: Axes, x: float, y: float, width: float, height: float, text: str, rotation=0) -> None:
    """A rounded box around (x, y) with a text in it."""
    corner, shape = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=2.5"
    axes.add_patch(FancyBboxPatch(corner, width, height, shape, fc="0.92", ec="black", lw=0.7, zorder=3))
    write(axes, x, y, text, rotation=rotation)


def write(axes: Axes, x: float, y: float, text: str, **how) -> None:
    """A text at (x, y)."""
    how = {"ha": "center", "va": "center", "size": 6, "linespacing": 1.05, **how}
    axes.text(x, y, text, family=FONT, usetex=False, color="black", zorder=4, **how)
