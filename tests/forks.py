"""Processes for one_of_many.py that are forked from one which has imported all that they need.

torchrun starts an interpreter for itself and for each process: more work than the tiny runs in them. This gives the
processes what torchrun gives them, and no more: nobody ends the others when one fails, nothing is restarted.

Run as a script it reads an order a line, ``{"processes": 2, "words": [...], "environment": {...}, "folder": ...}``,
and answers each with a line of exit statuses; what process N prints lies in ``out-N`` and ``err-N`` of the folder.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 300
# What the scripts import only where they need it
LATE = ("matplotlib.pyplot", "sklearn.datasets", "torch._dynamo", "torch.utils.tensorboard")
_server: list[subprocess.Popen] = []


def forked(words: list[str], processes: int) -> subprocess.CompletedProcess:
    """Run one_of_many.py with these words in several processes that are one world."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        size, port = str(processes), str(free.getsockname()[1])
        world = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        free.close()
        statuses = _ask({"processes": processes, "words": words, "environment": world, "folder": folder})
        out, err = ("".join((Path(folder) / f"{name}-{n}").read_text() for n in range(processes)) for name in OUTPUTS)
    return subprocess.CompletedProcess(words, next(filter(None, statuses), 0), out, err)


OUTPUTS = ("out", "err")


def _ask(order: dict) -> list[int]:
    """Give an order to the process that forks, which starts when it is first needed; the statuses."""
    if not _server:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        words = [sys.executable, str(Path(__file__).resolve())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        _server.append(subprocess.Popen(words, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes))
        atexit.register(_end)
    [server] = _server
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], TIMEOUT_S)[0]:
        _end()
        raise TimeoutError(f"the processes have not ended within {TIMEOUT_S} s: {order}")
    return json.loads(server.stdout.readline())


def _end() -> None:
    """End the process that forks, with what it has forked."""
    while _server:
        server = _server.pop()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _fork(order: dict, rank: int) -> int:
    """Start one process; its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for number, name in enumerate(OUTPUTS, 1):
            os.dup2(os.open(f"{order['folder']}/{name}-{rank}", os.O_WRONLY | os.O_CREAT), number)
        os.environ.update(order["environment"], RANK=str(rank), LOCAL_RANK=str(rank))
        status = one_of_many.main(order["words"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    import importlib

    from tests import one_of_many

    for module in (*LATE, "tests.unpainted"):
        importlib.import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        children = [_fork(asked, rank) for rank in range(asked["processes"])]
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(ended), flush=True)
