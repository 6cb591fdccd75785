"""Types of flag values. Each refuses with one line that names the value; nothing is evaluated."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import unicodedata
from collections.abc import Callable

RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}
LARGEST = 10**12
LONGEST_NAME = 150  # bytes of a name, which a time and a number follow: file systems take 255


def _checked(kind: type, fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            # What is no number at all, and what is not finite, is refused in the same words.
            value = math.nan
        if abs(value) > LARGEST or math.isnan(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        # A number is repeated without the spaces around it; what is none at all is quoted as it came.
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text.strip()} is not {wanted}")
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type for whole numbers from ``least`` to ``most``."""
    return _checked(int, lambda v: least <= v <= most, f"a whole number from {least} to {most}")


MANY = 10**6  # more of anything than fits into a run; a typing error, then
WIDEST = 4096  # channels, or pixels a side

positive_int = whole(1, MANY)
count = whole(0, MANY)
processes = whole(1, 1024)
seed = _checked(int, lambda v: v >= 0, "a whole number from 0 up")
pixels = whole(1, WIDEST)
filters = _checked(
    int,
    lambda v: 0 < v <= WIDEST and v % 2 == 0,
    f"an even number from 2 to {WIDEST} (shuffle units split channels in half)",
)
positive = _checked(float, lambda v: v > 0, "a positive number")
non_negative = _checked(float, lambda v: v >= 0, "a number from 0 up")
probability = _checked(float, lambda v: 0 <= v < 1, "a probability in [0, 1)")
share = _checked(float, lambda v: 0 <= v <= 1, "a share in [0, 1]")
fraction = _checked(float, lambda v: 0 < v < 1, "a number strictly between 0 and 1")


def counts(most: int, longest: int) -> Callable[[str], tuple[int, ...]]:
    """A type for ``[4,4]``: a JSON list of 1 to ``longest`` counts from 0 to ``most``."""

    def parse(text: str) -> tuple[int, ...]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        # By type and not by isinstance: true is no count.
        whole = isinstance(value, list) and all(type(v) is int and 0 <= v <= most for v in value)
        if not whole or not 0 < len(value) <= longest:
            wanted = f"a list of 1 to {longest} counts from 0 to {most} like [4,4]"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return tuple(value)

    return parse


def seeds(text: str) -> tuple[int, ...]:
    """``0,1,2``: different seeds."""
    values = tuple(seed(part) for part in text.split(","))
    if len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"{text} names a seed twice")
    return values


def assignments(text: str) -> str:
    """``name=value,name=value``, as it is."""
    if not all(name.isidentifier() and value for name, _, value in (part.partition("=") for part in text.split(","))):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value,name=value")
    return text


def query_counts(text: str) -> tuple[int, ...]:
    """``50,100,200``: different counts, in order."""
    return tuple(sorted({positive_int(part) for part in text.split(",")}))


def path(text: str) -> str:
    """A path; an empty one, as of a variable of a shell that is not set, would else be taken for none."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path")
    return text


def save_name(text: str) -> str:
    """A run name as a folder name that every file system takes: letters of any script, digits, and ``._-``.

    A name that has to change for that gets a mark that tells it from all others, so that no run is taken for another.
    """
    if "/" in text or "\\" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is a path: --save takes a name, and --result the folder of all runs"
        )
    text = unicodedata.normalize("NFC", text)  # one spelling of letters with marks, as typed or composed
    # No dots at the ends: a folder would be hidden, or lose them on Windows.
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in text).strip(".")
    if name.split(".")[0].upper() in RESERVED:  # names of devices on Windows, whatever follows the dot
        name = f"_{name}"
    if name != text or len(name.encode()) > LONGEST_NAME:  # cut to leave room for the mark
        # 7: a dash and six digits; a letter cut in half goes.
        name = name.encode()[: LONGEST_NAME - 7].decode(errors="ignore")
    if not name.strip("_"):
        raise argparse.ArgumentTypeError(f"{text!r} has no character that a folder name can keep")
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
