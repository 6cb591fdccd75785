"""What the commands of this folder share with a terminal: one-line errors, odd file names, signals."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UseError(Exception):
    """Wrong use or bad input, found before anything is written: one line, exit status 2."""


class WorkError(Exception):
    """A fault while working, after which nothing half-done is left: one line, exit status 1."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that refuses with a UseError in place of printing its usage and exiting."""

    def error(self, message: str):
        raise UseError(f"{message} (see --help)")


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


def _interrupt(number, frame):
    raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt like Ctrl-C, so that clean-up code runs."""
    with _handlers(_interrupt, "SIGTERM", "SIGHUP"):
        yield


@contextmanager
def shielded() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP for the few moments of a clean-up or a rename."""
    with _handlers(signal.SIG_IGN, "SIGINT", "SIGTERM", "SIGHUP"):
        yield


@contextmanager
def _handlers(handler, *names: str) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python lets only that one set handlers
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
