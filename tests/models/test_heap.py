"""Nothing writes outside of its memory, above all in networks of few channels."""

import json
import subprocess
import sys

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


# Both scripts in one process: importing what they need takes longer than they do
TRIALS = """
import json, sys, retrainer_cifar, train_search_cifar
search, retrain = map(json.loads, sys.argv[1:])
sys.exit(train_search_cifar.main(search) or retrainer_cifar.main(retrain))
"""


def test_small_trials_run_to_their_end(tmp_path):
    image_folder(tmp_path / "classes", swapped=False)
    data = {SEARCH: scenes(tmp_path / "scenes", size=64), RETRAIN: tmp_path / "classes"}
    more = ["--result", str(tmp_path / "result"), *"--device cpu --epochs 1 --workers 0 --no-tensorboard".split()]
    done = checked("-c", TRIALS, *(json.dumps([*f.split(), "--data", str(d), *more]) for f, d in data.items()))
    assert done.returncode == 0, (done.returncode, done.stderr)
