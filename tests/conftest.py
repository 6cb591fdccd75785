"""One thread for each process, as several on two cores would wait for each other; and pictures are left blank."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from matplotlib.figure import Figure

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def blank(_figure: Figure, file, **_options) -> None:
    file.write(SIGNATURE)


@pytest.fixture(scope="module", autouse=True)
def pictures(request):
    """Runs make their figures but draw none of them, which takes a quarter of a tiny search.

    Modules with ``pytestmark = pytest.mark.pictures`` look at what is drawn; so do all that start a process.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("pictures"):
            patch.setattr(Figure, "savefig", blank)
        yield
