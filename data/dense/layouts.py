"""Where images, masks and boxes lie: VOC's layout, ``images/`` with ``masks/``, and COCO's JSON (docs/datasets.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from data.decoding import DataError
from data.dense.annotated import BOXES, IGNORED, MASKS, mask_ids
from data.dense.outlines import Outlines
from data.listing import IMAGE_SUFFIXES, Notes, image_names
from utils.system.terminal import reason, show

SIDES = ("train", "val")
VAL_SHARE = 0.2  # of images without sides of their own
CLASSES = "classes.json"
BACKGROUND = "background"
VOC_CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()
Fault = Callable[[str], None]  # told of what is wrong, in one line; it may raise


def refuse(text: str) -> None:
    """The fault of a run: it ends there. Raises DataError."""
    raise DataError(text)


@dataclass
class Side:
    """The images of one side, each with its mask, or with its boxes (m, 5) and the size that its annotations state."""

    paths: list[Path] = field(default_factory=list)
    masks: list[Path | Outlines] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    stated: list[tuple[int, int] | None] = field(default_factory=list)

    def fault(self, name: str) -> str | None:
        """Why nothing can be learned or measured with the side of that name."""
        if not self.paths:
            return f"no image in {name}"
        if self.boxes and not any(map(len, self.boxes)):
            return f"no object in {name}: a side without a box teaches and measures nothing"
        return None

    def add(
        self,
        path: Path,
        mask: Path | Outlines | None = None,
        boxes: np.ndarray | None = None,
        stated: tuple[int, int] | None = None,
    ) -> None:
        """Take one image in."""
        self.paths.append(path)
        self.stated.append(stated)
        if mask is not None:
            self.masks.append(mask)
        if boxes is not None:
            self.boxes.append(boxes)


@dataclass
class Listed:
    """What a folder holds: both sides, class names by id, and what to tell."""

    sides: dict[str, Side]
    classes: tuple[str, ...]
    notices: list[str]


def stated_classes(root: Path, targets: str) -> tuple[str, ...]:
    """The names in classes.json, none where there is no such file. Boxes have no class for the background."""
    path = root / CLASSES
    if not path.is_file():
        return ()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{show(path)} is no list of class names")
    if len(names) > IGNORED:
        raise DataError(f"{show(path)} names {len(names)} classes, and there is room for {IGNORED}")
    return tuple(names[1:] if targets == BOXES and names[0] == BACKGROUND else names)


def box_fault(box: Sequence[float], size: tuple[int, int]) -> str | None:
    """What is wrong with a box x1, y1, x2, y2 in an image of (width, height) pixels; one pixel over is rounding."""
    x1, y1, x2, y2 = box
    said = f"box [{', '.join(f'{v:g}' for v in box)}]"
    if not (x1 < x2 and y1 < y2):  # a nan is nowhere
        return f"{said} is empty"
    if min(x1, y1) < -1 or x2 > size[0] + 1 or y2 > size[1] + 1:
        return f"{said} lies outside of the image of {size[0]}x{size[1]} pixels"
    return None


def as_shares(boxes: Sequence[Sequence[float]], labels: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Boxes in pixels as float32 (m, 5): shares of (width, height), within the image, and class."""
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / torch.tensor([*size, *size])
    return torch.cat([corners.clamp(0, 1), torch.tensor(labels, dtype=torch.float32)[:, None]], dim=1).numpy()


def list_masks(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``<side>/images/`` and ``<side>/masks/`` with the same stems, or one pair of folders, a fifth of it for val."""
    notes = Notes(root)
    if (root / "images").is_dir():
        whole = _pairs(root, notes, fault)
        order = torch.randperm(len(whole.paths), generator=torch.Generator().manual_seed(0)).tolist()
        held_out = set(order[: max(1, round(VAL_SHARE * len(order)))])
        sides = {side: Side() for side in SIDES}
        for i, (path, mask) in enumerate(zip(whole.paths, whole.masks, strict=True)):
            sides["val" if i in held_out else "train"].add(path, mask)
        notes.more.append(f"{root.name} has no train/ and val/: every fifth image, drawn once and for all, is val")
    else:
        sides = {side: _pairs(root / side, notes, fault) for side in SIDES}
    classes = stated_classes(root, targets) or _counted(sides["train"].masks, fault)
    return Listed(sides, classes, notes.lines())


def _pairs(folder: Path, notes: Notes, fault: Fault) -> Side:
    side = Side()
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise DataError(f"{show(folder)} has no folder {name}/")
    masks: dict[str, list[str]] = {}
    for name in image_names(folder / "masks", notes):
        masks.setdefault(Path(name).stem, []).append(name)
    for name in image_names(folder / "images", notes):
        own = masks.pop(Path(name).stem, [])
        if len(own) == 1:
            side.add(folder / "images" / name, folder / "masks" / own[0])
        elif own:
            fault(f"{show(folder / 'images' / name)} has several masks: {', '.join(map(show, own))}")
        else:
            fault(f"{show(folder / 'images' / name)} has no mask {show(folder / 'masks' / Path(name).stem)}.png")
    if masks:
        notes.more.append(f"left out {len(masks)} masks without an image in {show(folder / 'masks')}")
    return side


def _counted(masks: Sequence[Path], fault: Fault) -> tuple[str, ...]:
    """Names for the ids in masks that nothing names."""
    most = 0
    for path in masks:
        try:
            ids = mask_ids(path)
        except DataError as error:
            fault(str(error))
            continue
        most = max(most, int(ids[ids != IGNORED].max(initial=0)))
    return tuple(f"class {i}" for i in range(most + 1))


def find_image(folder: Path, stem: str) -> Path | None:
    """The picture of a name without its ending."""
    return next((path for suffix in IMAGE_SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def coco_json(root: Path, side: str) -> tuple[Path, Path]:
    """The JSON of a side in COCO's layout and the folder of its images. Raises DataError."""
    own = root / side / "annotations.json"
    if own.is_file():
        return own, root / side / "images"
    if not (root / "annotations").is_dir():
        raise DataError(f"{show(root / side)} has no annotations.json")
    found = sorted((root / "annotations").glob(f"instances_{side}*.json"))
    if len(found) != 1:
        raise DataError(f"{show(root / 'annotations')} has {len(found)} files instances_{side}*.json, and needs one")
    return found[0], root / found[0].stem.removeprefix("instances_")


KNOWN = {MASKS: ("voc", "masks", "coco"), BOXES: ("voc", "coco")}  # the layouts that hold what a task reads


def recognise(root: Path, targets: str) -> str:
    """The name of the layout of a folder. Raises DataError."""
    if not root.is_dir():
        raise DataError(f"{str(root)!r:.200} is no folder")
    if (root / "JPEGImages").is_dir():
        return "voc"
    folders = [root, *(root / side for side in SIDES)]
    if targets == MASKS and any((folder / "images").is_dir() and (folder / "masks").is_dir() for folder in folders):
        return "masks"
    if (root / "annotations").is_dir() or (root / "train" / "annotations.json").is_file():
        return "coco"
    if targets == MASKS and any((folder / "images").is_dir() for folder in folders):
        return "masks"  # of which it will be said what is missing
    coco = "train/annotations.json, nor annotations/instances_train*.json"
    needed = {
        MASKS: f"JPEGImages/ with SegmentationClass/, nor images/ with masks/, nor {coco}",
        BOXES: f"JPEGImages/ with Annotations/, nor {coco}",
    }
    raise DataError(f"{str(root)!r:.200} holds neither {needed[targets]}")
