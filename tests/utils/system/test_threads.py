"""Threads are bounded before torch reads how many there are and how they wait, and by what a process may use."""

import os
import subprocess
import sys

import pytest

from tests.control_groups import system
from tests.harness import ROOT
from utils.system import threads
from utils.system.threads import SPINS, bound_threads, usable_cpus

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
AT_TORCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(*(os.environ.get(variable) for variable in sys.argv[2:]), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
__import__(sys.argv[1])
"""
GROUPS = {
    "none": ("", {}, None),
    "at the top as in a container": ("0::/\n", {"cpu.max": "200000 100000"}, 2),
    "half a processor more": ("0::/\n", {"cpu.max": "250000 100000"}, 3),
    "less than one": ("0::/a\n", {"a/cpu.max": "50000 100000"}, 1),
    "unlimited": ("0::/\n", {"cpu.max": "max 100000"}, None),
    "a parent": ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
    "more than there are": ("0::/\n", {"cpu.max": "9900000 100000"}, None),
    "not to be read": ("0::/\n", {"cpu.max": "many"}, None),
}


@pytest.mark.parametrize("module", ["train_search_cifar", "retrainer_cifar", "studies.ranking", "benchmarks.steps"])
def test_a_fresh_process_has_settled_how_threads_wait_when_it_imports_torch(module):
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    words = [sys.executable, "-c", AT_TORCH, module, *WAITING]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [SPINS, "None"], done.stderr


@pytest.mark.parametrize("name", [*WAITING, "OMP_NUM_THREADS"])
def test_what_a_user_has_set_stays(name, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "visible_cpus", lambda: 64)
    root = system(tmp_path, "0::/\n", {"cpu.max": "200000 100000"})
    environment = {name: "7"}
    bound_threads(environment, root)
    rest = {"OMP_NUM_THREADS": "2"} if name in WAITING else {"GOMP_SPINCOUNT": SPINS}
    assert environment == {name: "7", **rest}


@pytest.mark.parametrize("case", GROUPS)
def test_a_quota_bounds_the_threads(case, tmp_path, monkeypatch):
    cgroup, files, bound = GROUPS[case]
    monkeypatch.setattr(threads, "visible_cpus", lambda: 64)
    root, environment = system(tmp_path, cgroup, files), {}
    bound_threads(environment, root)
    assert environment.get("OMP_NUM_THREADS") == (None if bound is None else str(bound))
    assert usable_cpus(root) == (bound or 64)
