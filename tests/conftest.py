"""One thread for each process, as several on two cores would wait for each other; and pictures that are not painted."""

import multiprocessing
import os
from multiprocessing import forkserver

from utils.system.threads import bound_threads

os.environ["OMP_NUM_THREADS"] = "1"
bound_threads()  # what tests start inherits it

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

painted, drawn = Figure.savefig, FigureCanvasAgg.draw


def empty(figure: Figure, file, *, format: str = "png", **_options) -> None:
    """In place of Figure.savefig: a picture of one pixel."""
    Image.new("L", (1, 1)).save(file, format)


def paint(patch: pytest.MonkeyPatch) -> None:
    """Let a single test paint, as modules with the mark do."""
    patch.setattr(Figure, "savefig", painted)
    patch.setattr(FigureCanvasAgg, "draw", drawn)


@pytest.fixture(scope="module", autouse=True)
def pictures(request):
    """Runs make all their figures, but do not paint them, which takes half of a tiny search.

    What they show in TensorBoard is an empty page of the right size.

    Modules with ``pytestmark = pytest.mark.pictures`` look at them; so do all that start an interpreter.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("pictures"):
            patch.setattr(Figure, "savefig", empty)
            patch.setattr(FigureCanvasAgg, "draw", FigureCanvasAgg.get_renderer)
        yield


@pytest.fixture(scope="session")
def server_of_jobs():
    """Start the process that jobs are forked from with all that any of them imports, not with what the first needs."""
    preload = ["studies.compare", "studies.table", "sklearn.datasets", "torch._dynamo", "tests.engine.test_pieces"]
    preload.append("tests.unpainted")
    multiprocessing.set_forkserver_preload(preload)
    forkserver.ensure_running()
