"""Who imports this makes figures but paints none, as conftest.py says: the processes that others are forked from."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.conftest import empty

Figure.savefig, FigureCanvasAgg.draw = empty, FigureCanvasAgg.get_renderer
