"""The folder of a run and what is written there while it goes on: lines, metrics, TensorBoard."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.system.errors import UsageError
from utils.system.files import write_figure, write_text
from utils.system.terminal import reason, tell

TENSORBOARD = "TensorBoard"


def make_folder(result: str, kind: str, save: str) -> Path:
    """Make a new folder ``<result>/<kind>/<save>-<time>``; a number is added where it exists already.

    Raises UsageError where it cannot be made.
    """
    base = Path(result).expanduser() / kind
    name = f"{save}-{time.strftime('%Y-%m-%d-%Hh%Mm%Ss')}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        # Two runs may begin in the same second.
        for attempt in range(1, 1000):
            folder = base / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except (OSError, ValueError) as error:
        raise UsageError(f"the run folder cannot be made in {base}: {error}") from None
    raise UsageError(f"there are too many runs called {name}")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON, whole or not at all; numbers that are not finite become null."""
    text = json.dumps(_plain(value), indent=1, allow_nan=False)
    # Lists of numbers on one line each. A line end within brackets is never inside a JSON string.
    text = re.sub(r"\[\n[^\[\]{}\"]*\]", lambda numbers: "".join(numbers[0].split()).replace(",", ", "), text)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)  # paths and the like as text


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs in a run's metrics.jsonl; what is none, as a line that a kill cut short, is left out."""
    path, epochs = folder / "metrics.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with suppress(ValueError):
            epochs.append(json.loads(line))
    return [epoch for epoch in epochs if isinstance(epoch, dict) and isinstance(epoch.get("epoch"), int)]


class RunLog:
    """What a run says: on the console from the start, and in its folder once it has one.

    ``silent``: it says nothing and writes nothing, as in all processes but the first.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self.silent, self.folder, self.writer = silent, None, None
        self.waiting: list[str] = []  # lines for log.txt, until there is one

    def open(self, folder: Path, *, tensorboard: bool = True, purge_step: int | None = None) -> None:
        """Write into a folder from now on, and into log.txt what was said before.

        ``purge_step``: TensorBoard forgets what an interrupted run wrote at this epoch or later.
        """
        self.folder = folder
        for text in self.waiting:
            self.detail(text, quiet=True)
        if tensorboard:
            with self.decoration(TENSORBOARD):
                from torch.utils.tensorboard import SummaryWriter

                self.writer = SummaryWriter(str(folder), purge_step=purge_step)

    def line(self, text: str) -> None:
        """Write one line on the console, above any progress bar, and in log.txt with the time."""
        self.detail(text, quiet=False)

    def detail(self, text: str, *, quiet: bool) -> None:
        """Write one line as :meth:`line` does; ``quiet``: in log.txt alone."""
        if self.silent:
            return
        if not quiet:
            with tqdm.external_write_mode(sys.stdout):  # above a progress bar
                tell(text)
        if self.folder is None:
            self.waiting.append(text)  # a run that is refused leaves no folder for it
            return
        # Opened anew for each line: nothing is lost in a buffer.
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write one object in metrics.jsonl and one value a tag in TensorBoard, at step ``epoch``."""
        if self.folder is None:
            return
        # One object a line, so that a line that a kill cut short costs no other.
        self._append("metrics.jsonl", json.dumps(_plain({"epoch": epoch, **values})) + "\n")
        with self.decoration(TENSORBOARD):
            if self.writer is not None:
                for tag, value in values.items():
                    self.writer.add_scalar(tag, value, epoch)
                # TensorBoard of a run that is going on shows the epoch that just ended.
                self.writer.flush()

    def figure(self, tag: str, figure: Any, step: int) -> None:
        """Show a matplotlib figure in TensorBoard."""
        with self.decoration(f"the picture {tag}"):
            if self.writer is not None:
                self.writer.add_figure(tag, figure, step, close=False)

    def picture(self, name: str, tag: str, draw: Callable[[], Any], step: int, *, dpi: int = 200) -> None:
        """Write the figure that ``draw`` makes, if any, as ``name``.png, and show it in TensorBoard."""
        with self.decoration(f"{name}.png"):
            figure = draw()
            if figure is not None:
                self.figure(tag, figure, step)
                write_figure(self.folder / f"{name}.png", figure, dpi=dpi)

    def histogram(self, tag: str, values: Sequence[float], step: int) -> None:
        """Show a histogram in TensorBoard."""
        with self.decoration(f"the histogram {tag}"):
            if self.writer is not None and values:
                self.writer.add_histogram(tag, np.asarray(values, dtype=np.float64), step)

    @contextmanager
    def decoration(self, what: str) -> Iterator[None]:
        """Run a body that only decorates the run: whatever it raises ends it alone, and becomes a warning.

        Warnings, of letters that a font has not, say nothing to a user and are dropped.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            self.line(f"warning: {what} could not be made: {type(error).__name__}: {reason(error)[:200]}")
            self.detail(traceback.format_exc(), quiet=True)
            # A full disk would else warn with every number.
            if what == TENSORBOARD:
                self.writer = None  # once is enough

    def _append(self, name: str, text: str) -> None:
        # Names that are no UTF-8 are escaped here as on the console: the file stays text that any tool can read.
        with open(self.folder / name, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)

    def close(self) -> None:
        """Close the event file of TensorBoard."""
        with self.decoration(TENSORBOARD):
            if self.writer is not None:
                self.writer.close()
