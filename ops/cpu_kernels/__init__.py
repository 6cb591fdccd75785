"""Gradients that are written by hand, for eager mode on CPUs, and the one switch that chooses them.

There every operation reads and writes memory, and some kernels are slow (benchmarks/README.md). Elsewhere the
layers' formula stands as plain torch operations, which a GPU runs well and which compilers and exporters understand.
"""

import torch
from torch import Tensor


def use_cpu_kernel(x: Tensor) -> bool:
    """Whether ``x`` is worked on in eager mode on a CPU, in single or double precision."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    return not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
