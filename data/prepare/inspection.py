"""Decoding image files to find out whether they are sound, in several processes."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from data.decoding import quieten, rgb, room_for, why
from utils.system.errors import WorkError
from utils.system.terminal import reason

# What Pillow calls the content that a name with this extension promises. MPO is a JPEG with more pictures behind it.
FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".ppm": ("PPM",),
    ".pgm": ("PPM",),
    ".bmp": ("BMP", "DIB"),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
}
CHUNK = 16  # files that a process is given at a time


@dataclass(frozen=True)
class Finding:
    """What one file turned out to be: `kind` is good, disguised, damaged or empty; the last two cannot be read.

    `reason`: why it is not good. `mode`: as Pillow names it. `size`: (width, height). `digest`: of the bytes of the
    file. These three are empty where the file cannot be read.
    """

    kind: str
    reason: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    digest: bytes = b""

    @property
    def readable(self) -> bool:
        """Whether training can read the file, whatever its name promises."""
        return self.kind in ("good", "disguised")


def inspect(path: str, sharers: int = 1) -> Finding:
    """Read and decode one file completely, as training does.

    Never raises for what is in the file, nor where there is none. ``sharers``: processes that do the same.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Finding("damaged", error.strerror or reason(error))
    if not content:
        return Finding("empty", "0 bytes")
    try:
        mode, size, found = _decode(content, sharers)
    except Image.UnidentifiedImageError:
        return Finding("damaged", f"no image: it starts with {content[:16]!r}")
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        return Finding("damaged", why(error))
    expected = FORMATS[os.path.splitext(path)[1].lower()]
    kind = "good" if found in expected else "disguised"
    said = "" if kind == "good" else f"{found} content, {expected[0]} by its name"
    return Finding(kind, said, mode, size, hashlib.sha256(content).digest())


def _decode(content: bytes, sharers: int) -> tuple[str, tuple[int, int], str]:
    quieten()
    with Image.open(io.BytesIO(content)) as image, room_for(image, sharers):
        rgb(image)
        return image.mode, image.size, image.format


def inspect_all(paths: Sequence[str], workers: int | None = None) -> Iterator[Finding]:
    """The findings in the order of `paths`, from `workers` processes (None: one per core, fewer for few files).

    Raises WorkError where a process dies, as for want of memory.
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, len(paths) // (4 * CHUNK))
    workers = min(workers, -(-len(paths) // CHUNK))
    if workers <= 1:
        yield from map(inspect, paths)
        return
    # Spawned, not forked: nothing is inherited from threads of the caller, and it is the same on every system.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_ctrl_c_to_the_parent)
    try:
        yield from pool.map(partial(inspect, sharers=workers), paths, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise WorkError("a decoding process died, perhaps for want of memory: try --workers 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
