"""Jobs: work in processes of this machine, or on a cluster through submitit, all of them started and asked alike."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Protocol

import torch
from tqdm import tqdm

from utils.config import JobsConfig
from utils.system.errors import UsageError
from utils.system.terminal import reason

ROOT = Path(__file__).resolve().parent.parent
OF_SUBMITIT = {"gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min", "nodes", "tasks_per_node"}
Work = Callable[[], str | None]  # gives None, or what went wrong in words; picklable


class Job(Protocol):
    """Work that is done elsewhere."""

    def done(self) -> bool:
        """Whether it has ended."""

    def fault(self) -> str | None:
        """What went wrong with one that has ended, in words; None where nothing did."""

    def cancel(self) -> None:
        """End it now."""


def require_jobs(config: JobsConfig) -> None:
    """Refuse what jobs cannot be. Raises UsageError."""
    if config.slurm and config.cluster != "slurm":
        raise UsageError("--slurm is for --cluster slurm")
    if config.cluster and find_spec("submitit") is None:
        raise UsageError(f"--cluster {config.cluster} needs submitit: pip install -r requirements-optional.txt")
    if config.cluster == "slurm" and which("srun") is None:
        raise UsageError("--cluster slurm: there is no srun on this machine")


def starter(config: JobsConfig, folder: Path, modules: Sequence[str]) -> Callable[[Work], Job]:
    """What starts a job: on the cluster that the flags name, else in a process of this machine.

    ``folder``: for the files of a cluster. ``modules``: that the work needs.
    """
    if config.cluster is None:
        threads = max(1, torch.get_num_threads() // config.jobs)  # together no more than there are
        return lambda work: LocalJob(work, modules, threads)
    import submitit

    executor = submitit.AutoExecutor(folder / "jobs", cluster=config.cluster)
    pairs = (pair.partition("=") for pair in (config.slurm or "").split(",") if pair)
    wanted = {name: int(value) if value.isdecimal() else value for name, _, value in pairs}
    try:
        executor.update_parameters(**{n if n in OF_SUBMITIT else f"slurm_{n}": value for n, value in wanted.items()})
    except NameError as error:  # what no cluster knows
        raise UsageError(f"--slurm {config.slurm}: {reason(error)}") from None
    return lambda work: ClusterJob(executor, work)


class LocalJob:
    """Work in a process of its own: one that dies takes no other with it."""

    def __init__(self, work: Work, modules: Sequence[str], threads: int) -> None:
        before = set(multiprocessing.active_children())
        self.pool = ProcessPoolExecutor(1, _context(modules), initializer=_prepare_process, initargs=(threads,))
        self.future = self.pool.submit(work)
        self.processes = set(multiprocessing.active_children()) - before

    def done(self) -> bool:
        """Whether it has ended."""
        return self.future.done()

    def fault(self) -> str | None:
        """What went wrong, in words."""
        try:
            return self.future.result()
        except BrokenProcessPool:
            return "its process was ended from outside, for want of memory for example"
        finally:
            self.pool.shutdown(wait=False)

    def cancel(self) -> None:
        """End its process."""
        for process in self.processes:
            process.terminate()
        self.pool.shutdown(wait=False)


class ClusterJob:
    """Work that submitit runs."""

    def __init__(self, executor: Any, work: Work) -> None:
        before = os.environ.get("PYTHONPATH")
        # A job has the environment of its submission, and imports our modules wherever it starts.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
        try:
            self.job = executor.submit(work)
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    def done(self) -> bool:
        """Whether it has ended."""
        return self.job.done()

    def fault(self) -> str | None:
        """What went wrong, in words."""
        try:
            return self.job.result()
        except Exception as error:  # it died, or was never run
            return f"job {self.job.job_id}: {reason(error)[-200:]}"

    def cancel(self) -> None:
        """End it, or take it out of the queue."""
        self.job.cancel(check=False)


def _context(modules: Sequence[str]) -> Any:
    """Where processes come from: forks of one that has imported everything and has no threads, which can hang them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def _prepare_process(threads: int) -> None:
    """Make the process of a job depend on the run alone, and share the processors with those beside it."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        # A terminal sends Ctrl-C and hang-ups to all processes, of which the first one ends the others.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own would be left behind by a process that is killed
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A process whose run was killed makes nothing more: whoever goes on would make the same beside it."""
    multiprocessing.parent_process().join()
    os._exit(1)
