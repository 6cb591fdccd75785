"""Nothing writes outside of its memory, above all in networks of few channels."""

import subprocess
import sys

import pytest

from tests.cutouts import scenes
from tests.harness import ROOT, image_folder
from tests.heap_scan import checking

SEARCH = "--space darts --searcher rl --task segment --image_size 64 --layers 3 --child_out_filters 4 --batch_size 4"
SEARCH += " --controller_steps 1 --valid_steps 1 --derive_samples 2"
RETRAIN = "--arch NAONet-A --layers 1 --stem plain --image_size 128 --child_out_filters 4"


def checked(*words: str) -> subprocess.CompletedProcess:
    """Run ``python <words>`` where the allocator looks for damage."""
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=checking(), capture_output=True, text=True, timeout=300
    )


def test_operations_and_supernets_of_few_channels_damage_nothing():
    done = checked("-m", "tests.heap_scan", "--short")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("script", "flags"), [("train_search_cifar.py", SEARCH), ("retrainer_cifar.py", RETRAIN)])
def test_small_trials_run_to_their_end(script, flags, tmp_path):
    if "segment" in flags:
        data = scenes(tmp_path / "data", size=64)
    else:
        data = tmp_path / "data"
        image_folder(data, swapped=False)
    words = [*flags.split(), "--data", str(data), "--result", str(tmp_path / "result"), "--device", "cpu"]
    done = checked(script, *words, "--epochs", "1", "--workers", "0", "--no-tensorboard")
    assert done.returncode == 0, (done.returncode, done.stderr)
