"""One thread for each process, as several on two cores would wait for each other; and pictures of few pixels."""

import os

from utils.system.threads import bound_threads

os.environ["OMP_NUM_THREADS"] = "1"
bound_threads()  # what tests start inherits it

import pytest
from matplotlib.figure import Figure

COARSE = 20  # dots an inch
savefig = Figure.savefig


def coarse(figure: Figure, file, **options) -> None:
    savefig(figure, file, **{**options, "dpi": COARSE})


@pytest.fixture(scope="module", autouse=True)
def pictures(request):
    """Runs draw all their pictures, but small: at full size they take a quarter of a tiny search.

    Modules with ``pytestmark = pytest.mark.pictures`` look at the size; so do all that start a process.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("pictures"):
            patch.setattr(Figure, "savefig", coarse)
        yield
