"""Small files of the layouts that torchvision reads: the idx files of MNIST and its kin, and SVHN's."""

import gzip
from pathlib import Path

import numpy as np

from data.torchvision_sets import IDX_FILES


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an idx file: 0, 0, the type 8, the number of axes, each size, the values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def idx_files(folder: Path, counts=(40, 20), *, packed: bool = False, side: int = 28) -> dict[str, np.ndarray]:
    """Write the four files, images of noise and labels that go round; what they hold, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, content = np.random.default_rng(0), {}
    for count, images, labels in zip(counts, IDX_FILES[::2], IDX_FILES[1::2], strict=True):
        content[images] = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
        content[labels] = np.arange(count, dtype=np.uint8) % 10
    for name, array in content.items():
        data = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data, 1) if packed else data)
    return content


def svhn_files(folder: Path, count: int = 30) -> dict[str, np.ndarray]:
    """SVHN's two files, in which a zero has the label 10; the images (32, 32, 3, n) by part."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    rng, content = np.random.default_rng(0), {}
    for part in ("train", "test"):
        content[part] = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": content[part], "y": labels})
    return content
