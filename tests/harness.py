"""How the tests run both scripts, and read back what a run leaves."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import retrainer_cifar
import train_search_cifar

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {"search": train_search_cifar, "retrain": retrainer_cifar}
TINY = ["--data", "digits", "--blocks", "[1]", "--child_out_filters", "4", "--batch_size", "128", "--epochs", "2"]
TINY_SEARCH = [*TINY, "--controller_steps", "2", "--valid_steps", "1", "--derive_samples", "3", "--device", "cpu"]
TINY_RETRAIN = [*TINY, "--stem", "quarter", "--device", "cpu"]


def in_subprocess(words: list[str]) -> str:
    """Run ``python <words>`` in the repository as a user would; its standard output. It must succeed quietly."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def run(kind: str, result: Path, *flags: str) -> Path:
    """Run a script in this process; the folder that it wrote."""
    before = set(result.glob(f"{kind}/*"))
    tiny = {"search": TINY_SEARCH, "retrain": TINY_RETRAIN}[kind]
    assert SCRIPTS[kind].main([*tiny, "--result", str(result), *flags]) == 0
    [folder] = set(result.glob(f"{kind}/*")) - before
    return folder


def genotypes(folder: Path) -> dict:
    """genotypes.json without the commands, which name the folder."""
    document = json.loads((folder / "genotypes.json").read_text())
    for candidate in document["candidates"]:
        candidate.pop("retrain")
    return document


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: for each tag (step, value)."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def printed_command(output: str) -> list[str]:
    """The retrain command that a search printed, as words."""
    [line] = [line for line in output.splitlines() if line.startswith("retrain it with:")]
    return shlex.split(line.partition(":")[2])


def refusal(kind: str, capsys, *flags: str) -> str:
    """Run a script that must refuse: exit status 2 and one line, which is returned."""
    status = None
    try:
        SCRIPTS[kind].main(list(flags))
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error
