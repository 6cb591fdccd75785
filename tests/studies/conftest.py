"""A search that studies judge: tiny, but its shared weights and data are real."""

import pytest

from tests.harness import run

SEARCHED = ["--train_images", "300", "--batch_size", "60", "--epochs", "2", "--no-tensorboard", "--no-flip"]
SEARCHED += ["--derive_samples", "2", "--image_size", "16"]


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """The folder of a complete search on 300 digits."""
    return run("search", tmp_path_factory.mktemp("searched"), *SEARCHED)


@pytest.fixture(scope="package", autouse=True)
def jobs(server_of_jobs):
    """Studies make their pieces in jobs."""
