"""One thread for each process, as several on two cores would wait for each other; and pictures that are not painted."""

import os

from utils.system.threads import bound_threads

os.environ["OMP_NUM_THREADS"] = "1"
bound_threads()  # what tests start inherits it

import pytest
from matplotlib.figure import Figure
from PIL import Image

painted = Figure.savefig


def empty(figure: Figure, file, *, format: str = "png", **_options) -> None:
    """In place of Figure.savefig: a picture of one pixel."""
    Image.new("L", (1, 1)).save(file, format)


@pytest.fixture(scope="module", autouse=True)
def pictures(request):
    """Runs make all their figures, but do not paint them, which takes a quarter of a tiny search.

    Modules with ``pytestmark = pytest.mark.pictures`` look at them; so do all that start a process.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("pictures"):
            patch.setattr(Figure, "savefig", empty)
        yield
