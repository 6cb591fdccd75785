"""Downloads in miniature."""

import pytest

from tests.miniature import LAYOUTS


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """One miniature of each data set, never written to by a test."""
    return {name: build(tmp_path_factory.mktemp(name) / "source") for name, build in LAYOUTS.items()}
