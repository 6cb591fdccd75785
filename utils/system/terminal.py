"""What a person sees: one line at a time, which no name and no console can make fail."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from utils.system.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that refuses with a UsageError in place of printing its usage and exiting."""

    def error(self, message: str):
        """Raise UsageError with what is wrong."""
        raise UsageError(f"{message} (see --help)")


def show(name: object) -> str:
    """Make a path or name safe in one line of text: odd characters and line ends are escaped."""
    text = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name)
    # A name with a line end could else forge a line of the log.
    return text if text.isprintable() else ascii(text)


def some(names: Iterable[object], limit: int = 5) -> str:
    """List the first names, comma separated, and how many more there are."""
    names = list(names)
    text = ", ".join(show(name) for name in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def reason(error: BaseException) -> str:
    """Say what went wrong, in one line, with the file name where the system gives one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {show(error.filename)}" if error.filename else error.strerror
    return show(" ".join(str(error).split())) or type(error).__name__  # line ends of a message would be escaped else


def say(text: str, stream=None) -> None:
    """Print one line to standard output, or to `stream`, and flush it.

    A reader that went away (`| head`) is no fault: the rest of the output is dropped. Any other failure to
    write raises OSError.
    """
    stream = stream or sys.stdout  # looked up at the call, since tests and studies redirect it
    if stream is None:  # the shell closed it: `>&-`
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        # A console of ASCII shows what it cannot print as an escape, and nothing fails.
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError as error:
        # What sits in the buffer would fail again when Python exits, with a traceback: send it nowhere.
        _divert(stream)
        if error.errno != errno.EPIPE:
            raise


def tell(text: str, stream=None) -> None:
    """Print one line as `say` does, but a console that is gone, full or closed is no fault: results are in files."""
    with suppress(OSError, ValueError):
        say(text, stream)


def complain(command: str, message: object) -> None:
    """Print one line on standard error, in the name of the command if anybody can read it."""
    tell(f"{command}: {' '.join(str(message).splitlines())}", sys.stderr or sys.stdout)


def open_streams() -> None:
    """Give a process that was started without standard output or error (`>&-`) the null device in their place.

    Else the next file that is opened, a checkpoint perhaps, gets their number and whatever is printed to it.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, so mostly this very one
        if null != number:
            os.dup2(null, number)
            os.close(null)
        mode = "r" if number == 0 else "w"
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _divert(stream) -> None:
    """Let what is written to the stream from now on go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
