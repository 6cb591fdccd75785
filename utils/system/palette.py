"""The colours of class ids, in masks as files and in pictures of them."""

from __future__ import annotations


def palette() -> list[int]:
    """256 colours as 768 numbers, black first, 255 in light grey: the bits of an id spread over the channels (VOC)."""
    colours = []
    for number in range(255):
        rest, rgb = number, [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                # Of every three bits red, green and blue take one each; the first three are their highest bits.
                rgb[channel] |= (rest >> channel & 1) << (7 - bit)
            rest >>= 3
        colours += rgb
    return [*colours, 224, 224, 192]
