"""Composed scenes with masks, in files and outlined in COCO's JSON."""

import shutil
from importlib.util import find_spec

import pytest

from tests.cutouts import as_voc, scenes
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


@pytest.fixture(scope="package")
def scenes_by_layout(tmp_path_factory):
    """The same scenes with masks and COCO's JSON, and in VOC's layout; no test may change them."""
    root = tmp_path_factory.mktemp("scenes")
    folder = scenes(root, number=6, size=24)
    return {"masks": folder, "voc": as_voc(folder, root / "voc")}


@pytest.fixture
def folders(scenes_by_layout, tmp_path):
    """Copies that a test may change."""
    return {name: shutil.copytree(folder, tmp_path / name) for name, folder in scenes_by_layout.items()}
