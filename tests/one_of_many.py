"""What a process of a several-process test runs: a script, watched. ``one_of_many.py OUT KIND FAULT flags...``

Behind the word AND another script may follow, in the same processes; the status is that of the last one that failed.

OUT gets the weights of this process after every epoch, and its strategy if it has one. FAULT: ``none``; ``crash``, an
error in process 1 in the third step; ``stop``, SIGTERM to process 1 alone in the third step; ``rank-P-N``, process P
has no score for the N-th network that it is to rank without training; ``norms``, each image is normalised by itself.
"""

import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.run_state import RunState
from models.proxies import ProxyError, ProxyRanker
from tests.harness import SCRIPTS, norm_by_image
from utils.system.signals import StopRequest

batch_norm = torch.nn.functional.batch_norm
write_epoch, check, score = RunState.write_epoch, StopRequest.check, ProxyRanker.__call__
job = {"out": "", "fault": "none", "steps": 0, "ranked": 0}


def rank() -> int:
    return int(os.environ["RANK"])


def watched_epoch(self, *args):
    metrics, out, epoch = write_epoch(self, *args), Path(job["out"]), self.position.epoch
    torch.save(self.training.model.state_dict(), out / f"epoch{epoch}-rank{rank()}.pt")
    if "strategy" in self.training.extras:
        torch.save(self.training.extras["strategy"].state_dict(), out / f"strategy{epoch}-rank{rank()}.pt")
    return metrics


def faulty_check(self):
    job["steps"] += 1
    if rank() == 1 and job["steps"] == 3:
        if job["fault"] == "crash":
            raise OSError("the disk of process 1 broke")
        if job["fault"] == "stop":
            signal.raise_signal(signal.SIGTERM)
    check(self)


def faulty_score(self, genotype):
    job["ranked"] += 1
    if job["fault"] == f"rank-{rank()}-{job['ranked']}":
        raise ProxyError(f"process {rank()} has no score")
    return score(self, genotype)


def main(words: list[str]) -> int:
    """Run the jobs; the status. The process is good for nothing else afterwards."""
    RunState.write_epoch, StopRequest.check = watched_epoch, faulty_check
    ProxyRanker.__call__ = faulty_score
    status = 0
    while words:
        end = words.index("AND") if "AND" in words else len(words)
        (out, kind, fault, *argv), words = words[:end], words[end + 1 :]
        job.update(out=out, fault=fault, steps=0, ranked=0)
        torch.nn.functional.batch_norm = norm_by_image if fault == "norms" else batch_norm
        try:
            status = SCRIPTS[kind].main(argv) or status
        except SystemExit as ended:
            status = ended.code or status
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
