"""A study that is stopped while it makes its pieces."""

import signal
from collections.abc import Sequence
from dataclasses import replace

from engine.pieces import Piece, Workplace, make


def make_until_the_third(pieces: Sequence[Piece], *, place: Workplace) -> list[dict]:
    """As the study makes them, but a signal comes when the third of them is made."""

    def say_and_stop(line: str) -> None:
        place.say(line)
        if line.startswith("3 of"):
            signal.raise_signal(signal.SIGTERM)

    return make(pieces, replace(place, say=say_and_stop))
