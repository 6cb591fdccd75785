"""What is done to make a run fast, and that it changes nothing else."""

import sys

import pytest
import torch
from torch._dynamo.utils import counters

from models.network import Network
from ops.genotype import parse_genotype
from tests.harness import in_subprocess
from utils.config import DEFAULT_ARCH
from utils.system.device import compile_blocks, recompile_limit


@pytest.fixture
def fresh_compiler():
    limit = getattr(torch._dynamo.config, recompile_limit())
    torch.compiler.reset()
    counters.clear()
    yield
    setattr(torch._dynamo.config, recompile_limit(), limit)
    torch.compiler.reset()


def test_compiled_blocks_compute_the_same_and_compile_once_for_all_drop_path_probabilities(fresh_compiler):
    """With the backend that runs what was captured as it is; inductor takes minutes on a CPU."""
    arguments = (parse_genotype(DEFAULT_ARCH), (2,), 4, 10)
    plain, compiled = Network(*arguments), Network(*arguments)
    compiled.load_state_dict(plain.state_dict())
    names = list(compiled.state_dict())
    compile_blocks(compiled, backend="eager")
    images = torch.randn(4, 3, 8, 8)
    graphs = []
    for probability in (0.1, 0.2, 0.3):
        outputs = []
        for network in (plain, compiled):
            torch.manual_seed(1)
            logits, _ = network(images, probability)
            logits.sum().backward()
            outputs.append(logits.detach())
        torch.testing.assert_close(*outputs)
        graphs.append(counters["stats"]["unique_graphs"])
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert graphs[0] > 0
    assert len(set(graphs)) == 1
    assert list(compiled.state_dict()) == names


FAULTS = """
import resource, torch
from utils.system.device import keep_freed_memory
x = torch.ones(12 << 20)  # 48 MiB: more than glibc ever keeps by itself
for keep in (False, True):
    if keep:
        keep_freed_memory(torch.device("cpu"))
    for i in range(30):
        if i == 25:  # glibc first fills its lists of small leftovers, which keep large pieces apart
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        y = x * 2
        del y
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_kept_memory_is_not_cleared_again():
    plain, kept = map(int, in_subprocess(["-c", FAULTS]).split())
    if plain < 1000:
        pytest.skip("this C library keeps memory by itself")
    assert kept < plain / 100
