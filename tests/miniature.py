"""The official downloads in miniature, as they unpack: real images of 2x2 pixels, a few in each class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from data.prepare.command import SETS, main

AID, NWPU, SPORT8, MIT67, PLANTVILLAGE = (
    SETS[name].classes for name in ("aid", "nwpu", "sport8", "mit67", "plantvillage")
)


def picture(path: Path) -> Path:
    """Write a small JPEG that no other path gets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.frombuffer(hashlib.sha512(str(path).encode()).digest()[:48], np.uint8)
    Image.fromarray(noise.reshape(4, 4, 3)).save(path, format="JPEG", quality=95)
    return path


def class_folders(root: Path, classes: Iterable[str], count: int, pattern: str = "{label}_{number}.jpg") -> Path:
    for label in classes:
        for number in range(1, count + 1):
            picture(root / label / pattern.format(label=label.lower(), number=number))
    return root


def rubbish(root: Path, label: str) -> None:
    """What file managers, notebooks and archives leave in a folder of class folders, a stray folder, and a text."""
    for name in (".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", ".git/a.jpg", f"{label}/._b.jpg", f"{label}/test/x.jpg"):
        picture(root / name)
    for name in ("Thumbs.db", ".DS_Store", f"{label}/Thumbs.db", f"{label}/notes.txt"):
        (root / name).write_bytes(b"rubbish")


def aid(source: Path) -> Path:
    class_folders(source / "AID", AID, 4)
    return source


def nwpu(source: Path) -> Path:
    class_folders(source / "NWPU-RESISC45" / "NWPU-RESISC45", NWPU, 5, "{label}_{number:03d}.jpg")
    return source


def sport8(source: Path, count: int = 5) -> Path:
    images = class_folders(source / "event_dataset" / "event_img", SPORT8, count, "Easy_Mid_{label}_{number}.JPG")
    rubbish(images, "bocce")
    return source


def mit67(source: Path, count: int = 5) -> Path:
    """As the Kaggle mirror nests it. Of each class, two images are in the train list and one is in the test list."""
    root = source / "indoorCVPR_09"
    names = ["shopping mall.jpg", "baby's_room.jpg.jpg", "baby+room.JPG", "url.jpg", "salon_gif.jpg"][:count]
    for label in MIT67:
        for name in names:
            picture(root / "Images" / label / name)
    (source / "indoorCVPR_09annotations" / "Annotations").mkdir(parents=True)
    for file, listed in (("TrainImages.txt", names[:2]), ("TestImages.txt", names[2:3])):
        lines = [f"{label}/{name}" for label in MIT67 for name in listed]
        (source / file).write_bytes("\r\n".join(["", *lines, "  ", ""]).encode())
    return source


def flowers_labels() -> np.ndarray:
    """408 labels, four of each class, in disorder."""
    return np.random.default_rng(5).permutation(np.repeat(np.arange(1, 103), 4))


def flowers102(source: Path, labels: np.ndarray | None = None, **parts: Iterable[int]) -> Path:
    """Of each class the first image is in trnid, the second in valid, and the other two are in tstid."""
    known = flowers_labels()
    by_class = [np.flatnonzero(known == label) + 1 for label in range(1, 103)]
    usual = {
        "trnid": [ids[0] for ids in by_class],
        "valid": [ids[1] for ids in by_class],
        "tstid": [number for ids in by_class for number in ids[2:]],
    }
    for number in range(1, len(known) + 1):
        picture(source / "jpg" / f"image_{number:05d}.jpg")
    savemat(source / "imagelabels.mat", {"labels": known if labels is None else labels})
    savemat(source / "setid.mat", {key: np.array(value) for key, value in {**usual, **parts}.items()})
    return source


def plantvillage(source: Path, leaf_map: bool = True) -> Path:
    """As the repository: leaves of one to four images, identifiers shared between classes, second copies elsewhere."""
    leaves: dict[str, list[str]] = {}
    for position, label in enumerate(PLANTVILLAGE):
        number = 0
        for leaf in range(8):
            for _ in range(1 + (position + leaf) % 4):
                number += 1
                picture(source / "raw" / "color" / label / f"{position:02d}uuid{number}___RS_Rust {number}.JPG")
                leaves.setdefault(f"rs_rust {number}", []).append(f"{label}:::{leaf}.0")
    for other in ("raw/grayscale/Apple___healthy", "raw/segmented/Apple___healthy", "SVM/test/1"):
        picture(source / other / "copy.JPG")
    picture(source / "raw" / "color" / "x_Removed_from_Healthy_leaves" / "removed.JPG")
    if leaf_map:
        (source / "leaf_grouping").mkdir()
        (source / "leaf_grouping" / "leaf-map.json").write_text(json.dumps(leaves))
    return source


LAYOUTS = {name: globals()[name] for name in ("aid", "nwpu", "sport8", "mit67", "flowers102", "plantvillage")}


def prepare(name: str, source: Path, out: Path, *more: str) -> int:
    return main([name, "--source", str(source), "--out", str(out), *more])


def record(out: Path) -> dict:
    return json.loads((out / "split.json").read_text())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too, and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, *parts: str) -> str:
    """The one line of an error, which must hold all of `parts`."""
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("data.prepare: ")
    assert [part for part in parts if part not in error] == [], error
    return error
