"""Composed scenes with masks and boxes."""

import shutil

import pytest

from tests.cutouts import as_voc, scenes


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
