"""Composed scenes with masks, in files and outlined in COCO's JSON."""

import shutil
from importlib.util import find_spec

import pytest

from tests.outlined import both_layouts


@pytest.fixture(scope="package")
def made(tmp_path_factory):
    """By the name of a layout, a folder that no test may change."""
    if find_spec("pycocotools") is None:
        pytest.skip("masks from COCO's JSON need pycocotools")
    return both_layouts(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def coco(made, tmp_path):
    """A copy with outlines that a test may change."""
    return shutil.copytree(made["coco"], tmp_path / "coco")
