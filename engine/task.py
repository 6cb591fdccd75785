"""Tasks: what a network is trained for. Targets, a head, a loss, a meter, and the score that a search may reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.detection import Detection
from engine.losses import AUX_WEIGHT, retrain_loss, search_loss
from engine.segmentation import Segmentation
from utils.reports.evaluate import measure_classifier
from utils.system.errors import UsageError


class Batch(Protocol):
    """What a loader yields: see ``data.loaders.Batch``."""

    images: Tensor
    labels: Tensor
    weight: float


class Meter(Protocol):
    """Sums that stay on the device until they are read, so that no step waits for one."""

    sums: Tensor

    def update(self, loss: Tensor, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its mean loss (), what the heads gave and what they should have given."""

    def read(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Means over images by name, ``loss`` first. ``total`` sums over processes. Waits for the device."""


class Task(Protocol):
    """What a network is trained for.

    ``head``: a name in ``models.heads.HEADS``. ``measure``: the metric that networks are compared by, higher is better.
    ``shown``: names among the measures of a trained network that its result states.
    """

    head: str
    measure: str
    shown: tuple[str, ...]
    # Besides, where it is not "labels": ``reads``, what the task reads of an image; ``needs``, packages for
    # ``measures``; ``picture`` and ``predict``; ``final``, the name among these measures that finished networks are
    # compared by where it takes too long to be the measure of an epoch. See Segmentation and Detection.

    def outputs(self, classes: int) -> int:
        """How many outputs the head has, for data of so many classes."""

    def targets(self, batch: Batch) -> Tensor:
        """What the outputs of a batch are compared with."""

    def loss(self, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The training loss of a batch, auxiliary heads included: ()."""

    def validation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The plain loss of a batch, of the main head alone: ()."""

    def meter(self, device: torch.device, num_aux: int = 0) -> Meter:
        """A fresh meter for a network with ``num_aux`` auxiliary heads."""

    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Everything that is measured of a trained network, for measures.json. ``names``: of its outputs."""


class ClassificationMeter:
    """Loss, top-1 accuracy and that of each auxiliary head, in percent."""

    def __init__(self, device: torch.device, num_aux: int = 0) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(3 + num_aux, dtype=exact, device=device)

    @torch.no_grad()
    def update(self, loss: Tensor, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its mean loss (), logits (n, classes) of every head, labels (n,) or (n, classes).

        A process may have none of its images: then its mean is nan, and no image of it counts.
        """
        n = len(targets)
        if not n:
            return
        if targets.dim() == 2:  # mixed: the class with the larger share counts
            targets = targets.argmax(1)
        correct = [(x.argmax(1) == targets).sum() for x in (outputs, *aux)]
        values = [loss.detach() * n, correct[0], torch.full_like(correct[0], n), *correct[1:]]
        self.sums += torch.stack([value.to(self.sums.dtype) for value in values])

    def read(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """``loss``, ``top1``, ``aux0_top1``, ... Raises ValueError if no image was added."""
        sums = self.sums.clone()
        loss, top1, n, *aux = (sums if total is None else total(sums)).tolist()
        if not n:
            raise ValueError("no image was evaluated")
        return {
            "loss": loss / n,
            "top1": 100 * top1 / n,
            **{f"aux{i}_top1": 100 * correct / n for i, correct in enumerate(aux)},
        }


@dataclass(frozen=True)
class Classification:
    """One label an image. ``criterion(logits, aux, labels)``: the training loss."""

    criterion: Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]
    fixed: ClassVar[int | None] = None  # outputs, whatever the data
    head: ClassVar[str] = "classify"
    measure: ClassVar[str] = "top1"
    shown: ClassVar[tuple[str, ...]] = ("top1", "top5", "loss", "calibration_error", "shift_consistency")

    @classmethod
    def search(cls) -> Classification:
        """As shared weights are trained."""
        return cls(search_loss)

    @classmethod
    def retrain(cls, smoothing: float = 0.1, aux_weight: float = AUX_WEIGHT) -> Classification:
        """As the chosen network is trained."""
        return cls(partial(retrain_loss, smoothing=smoothing, aux_weight=aux_weight))

    def outputs(self, classes: int) -> int:
        """One for each class, or as many as there are answers."""
        return self.fixed or classes

    def targets(self, batch: Batch) -> Tensor:
        """Labels (n,), or shares (n, classes) where images are mixed."""
        return batch.labels

    def loss(self, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The criterion of logits (n, classes), auxiliary logits and labels: ()."""
        return self.criterion(outputs, aux, targets)

    def validation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Plain cross entropy, in double precision where the device has it: ()."""
        exact = torch.float32 if outputs.device.type == "mps" else torch.float64
        return F.cross_entropy(outputs.to(exact), targets)

    def meter(self, device: torch.device, num_aux: int = 0) -> ClassificationMeter:
        """Loss and accuracies."""
        return ClassificationMeter(device, num_aux)

    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Accuracies, by class too, confusion, calibration and shift consistency."""
        return measure_classifier(network, loader, names, generator)


class Rotation(Classification):
    """Which of its four rotations an image is in; no label is read (docs/method.md, section 20)."""

    fixed = 4


class Jigsaw(Classification):
    """In which of 24 orders the four tiles of an image are; no label is read (docs/method.md, section 20)."""

    fixed = 24
    head = "jigsaw"


# Each entry has ``search()`` and ``retrain(smoothing, aux_weight)``, which give a Task.
TASKS = {
    "classify": Classification,
    "rotation": Rotation,
    "jigsaw": Jigsaw,
    "segment": Segmentation,
    "detect": Detection,
}


def final_measure(task: Task) -> str:
    """What finished networks are compared by: higher is better."""
    return getattr(task, "final", task.measure)


def reads(name: str) -> str:
    """What the task of that name reads of an image besides its pixels: ``labels``, ``masks`` or ``boxes``."""
    return getattr(TASKS[name], "reads", "labels")


def require_measures(name: str) -> None:
    """Raise UsageError where a package is missing that measures a trained network of the task of that name."""
    missing = [package for package in getattr(TASKS[name], "needs", ()) if find_spec(package) is None]
    if missing:
        raise UsageError(f"--task {name} needs {missing[0]} to measure a network: pip install {missing[0]}")


class Score(NamedTuple):
    """What a search rewards and ranks by; higher is better, and never negative where the table below has it.

    ``metric``: the metric of a meter that ``of`` turns into the score. ``axis`` and ``sentence`` say in words what a
    score is; the sentence takes the number.
    """

    metric: str
    of: Callable[[float], float]
    axis: str
    sentence: str


def likelihood(loss: float) -> float:
    """The geometric mean of the probabilities that the right classes got, in percent, from a mean cross entropy."""
    return 100 * math.exp(-loss)


# By the name that ``--score`` takes. Positive, since evolution squares scores and soft limits multiply them.
SCORES = {
    "loss": Score(
        "loss",
        likelihood,
        "probability of the right class, geometric mean (%)",
        "{:.2f} % probability of the right class (geometric mean of the reward images)",
    ),
    "top1": Score("top1", float, "reward images correct (%)", "{:.2f} % of the reward images"),
}


def choose_score(name: str | None, task: Task) -> tuple[str, Score]:
    """The score of a name, with its name; by default the measure of the task.

    Raises UsageError where the task has no such metric.
    """
    name = name or task.measure
    score = SCORES.get(name) or Score(name, float, name, name + " {:.6g}")
    if name == "loss" and getattr(task, "reads", "labels") != "labels":
        score = score._replace(axis="100 exp(-loss)", sentence="100 exp(-loss) {:.6g}")
    if score.metric not in ("loss", task.measure):
        raise UsageError(f"--score {name}: this task measures {task.measure} and loss, but no {score.metric}")
    return name, score
