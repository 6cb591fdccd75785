"""The colours of class ids, in masks as files and in pictures of them."""

import numpy as np


def palette() -> list[int]:
    """256 colours as 768 numbers, black first, 255 in light grey: the bits of an id spread over the channels (VOC)."""
    ids, bits, channels = np.arange(255)[:, None, None], np.arange(8), np.arange(3)[:, None]
    # Of every three bits red, green and blue take one each; the first three are their highest bits.
    colours = (ids >> (3 * bits + channels) & 1) << (7 - bits)  # (255, 3, 8)
    return [*colours.sum(2).flatten().tolist(), 224, 224, 192]
