"""What a person sees: one line at a time, which no name and no console can make fail."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable

from utils.system.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that refuses with a UsageError in place of printing its usage and exiting."""

    def error(self, message: str):
        raise UsageError(f"{message} (see --help)")


def show(name: object) -> str:
    """A path or name that is safe in one line of text: odd characters and line ends are escaped."""
    text = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name)
    return text if text.isprintable() else ascii(text)


def some(names: Iterable[object], limit: int = 5) -> str:
    """The first names, comma separated, and how many more there are."""
    names = list(names)
    text = ", ".join(show(name) for name in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def reason(error: BaseException) -> str:
    """What went wrong, in one line, with the file name where the system gives one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {show(error.filename)}" if error.filename else error.strerror
    return show(" ".join(str(error).split())) or type(error).__name__


def say(text: str, stream=None) -> None:
    """Print one line to standard output, or to `stream`, and flush it.

    A reader that went away (`| head`) is no fault: the rest of the output is dropped. Any other failure to
    write raises OSError.
    """
    stream = stream or sys.stdout
    if stream is None:  # the shell closed it: `>&-`
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError as error:
        # What sits in the buffer would fail again when Python exits, with a traceback: send it nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if error.errno != errno.EPIPE:
            raise


def complain(command: str, message: object) -> None:
    """One line on standard error, in the name of the command."""
    say(f"{command}: {' '.join(str(message).splitlines())}", sys.stderr or sys.stdout)
