"""Several processes, as ``torchrun`` starts them; a single process is a world of one, where all of this is free."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.system.errors import UsageError

TIMEOUT = timedelta(hours=2)  # one process may read or download data while the others wait
SETTLING_S = 0.2
# What torch calls the switch for taking the first process's buffers before every step: the first is the newer name.
_WRAPPING = signature(nn.parallel.DistributedDataParallel).parameters
OWN_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _WRAPPING else "broadcast_buffers"


class World:
    """The processes of a run. ``rank`` counts from 0, ``local_rank`` within one machine."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self.control: dist.ProcessGroup | None = None  # gloo: for small things that must not wait for a GPU

    @property
    def is_main(self) -> bool:
        """Whether this is the first process, which writes and prints for all."""
        return self.rank == 0

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; all of them get it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes, in place; all of them get it."""
        # Gloo has no average of its own.
        return self.all_reduce_sum(values).div_(self.size) if self.size > 1 else values

    def all_reduce_max(self, value: int) -> int:
        """Find the largest of the processes' numbers without a wait for a GPU; all of them get it."""
        return self.count(value, dist.ReduceOp.MAX)

    def count(self, value: int, operation: dist.ReduceOp = dist.ReduceOp.SUM) -> int:
        """Sum the processes' whole numbers without a wait for a GPU; all of them get the sum."""
        if self.size == 1:
            return value
        shared = torch.tensor(value)
        # On the CPU and over gloo: a GPU that still computes would make the number wait for its kernels.
        dist.all_reduce(shared, operation, group=self.control)
        return int(shared)

    def broadcast(self, value: Any) -> Any:
        """Give all processes what the first one passes in."""
        if self.size == 1:
            return value
        # torch sends what a list holds, and puts what arrives into the list of the others.
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def of_first(self, compute: Callable[[], Any] | None) -> Any:
        """Give all processes what the first one computes, or the UsageError that it raises: then none waits for it.

        ``compute`` is called in the first process alone.
        """
        result, error = None, None
        if self.is_main:
            try:
                result = compute()
            except UsageError as refusal:
                error = refusal
        # Either outcome is sent: processes that wait for a result would else wait for ever when there is none.
        result, error = self.broadcast((result, error))
        if error is not None:
            raise error
        return result

    def gather(self, value: Any) -> list[Any]:
        """Give the first process what every process passes in, by rank; the others get an empty list."""
        if self.size == 1:
            return [value]
        box = [None] * self.size if self.is_main else None  # only the receiver may pass a list
        dist.gather_object(value, box, dst=0, group=self.control)
        return box or []

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.control)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The first process runs the body alone, then the others run it: for downloads."""
        if not self.is_main:
            self.barrier()
        try:
            yield
        finally:
            if self.is_main:
                self.barrier()

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Make a model average its gradients over the processes. Operations that a step did not sample get none."""
        if self.size == 1:
            return model
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            # A step runs along one path: most weights of a supernet have no gradient, in any process.
            find_unused_parameters=True,
            **{OWN_BUFFERS: False},  # each process keeps statistics of its own, until average_statistics
        )

    @torch.no_grad()
    def average_statistics(self, model: nn.Module) -> None:
        """Give all processes the mean of their running batch-norm statistics, before they evaluate or save."""
        if self.size == 1:
            return
        for buffer in running_statistics(model).values():
            dist.all_reduce(buffer)  # over NCCL on GPUs: the buffers lie there
            buffer /= self.size


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of the batch norms: what differs between processes within an epoch."""
    return {name: buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))}


def launched(environment: Mapping[str, str] = os.environ) -> World:
    """The world that ``torchrun`` describes in the environment. Raises UsageError for nonsense there."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    # Without torchrun there is one process, whatever else a batch system may have set.
    if not all(name in environment for name in names[:2]):
        return World()
    try:
        rank, size, local_rank = (int(environment.get(name, "0")) for name in names)
    except ValueError:
        raise UsageError("RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers, as torchrun sets them") from None
    return World(rank, size, local_rank)


_connections = itertools.count()  # the same in all processes: they connect and part together


@lru_cache
def _store() -> dist.Store:
    """Where the processes meet, once for all runs of a command: a second one could not listen on the same port."""
    return next(dist.rendezvous("env://", timeout=TIMEOUT))[0]


@contextmanager
def connected(world: World, device: torch.device) -> Iterator[None]:
    """Connect the processes within the body: NCCL between GPUs, gloo between CPUs."""
    if world.size == 1:
        yield
        return
    # NCCL moves tensors between GPUs; what is small and must not wait for them goes through gloo beside it.
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.PrefixStore(f"run {next(_connections)}", _store())
    dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=TIMEOUT)
    world.control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield
        world.barrier()  # only after success: after a fault the others may never come
    finally:
        # Older torch (2.6) ends gloo's threads while holding the interpreter, which they may still want in order to
        # let go of what was sent last: a run that is complete would wait for ever. While this sleeps, they have it.
        time.sleep(SETTLING_S)
        dist.destroy_process_group()


def synchronise_norms(model: nn.Module, world: World, device: torch.device) -> None:
    """Make every batch norm within a model one over all processes, in place; parameters and keys stay.

    Only while it trains: in evaluation each process takes statistics, if any, from its own images.
    """
    if device.type != "cuda":
        raise UsageError("--sync_bn needs GPUs: torch has no batch norm over several processes on CPUs")
    # Parameters and buffers are handed over, so that an optimizer or a checkpoint sees no difference.
    if world.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
