"""The seat of a task, which is what a network is trained for. Each task says all of it in one file beside this one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from engine.tasks.pictures import DRAWN_CLASSES, confusion_figure
from utils.system.errors import UsageError


def device_of(network: nn.Module) -> torch.device:
    """Where the parameters of a network are."""
    return next(network.parameters()).device


def exact(device: torch.device) -> torch.dtype:
    """The most exact numbers that a device has: double precision, but on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64


class Loss(NamedTuple):
    """A loss as its ``total`` () and the ``count`` () that it is the mean over: of images, pixels or matched places.

    Totals and counts of batches and processes add up, and their means do not: what is divided is divided once.
    """

    total: Tensor
    count: Tensor

    def over(self, count: Tensor) -> Tensor:
        """The total divided by a count, of this part or of several: (). Nothing is divided by less than one."""
        return self.total / count.clamp(min=1)

    @property
    def mean(self) -> Tensor:
        """The mean of this part alone: ()."""
        return self.over(self.count)


class Meter(ABC):
    """What a pass counts, as ``sums`` (size,) that stay on the device until they are read: no step waits for them.

    Sums of several batches, processes and parts of an interrupted pass add up to those of all images.
    """

    images_at: ClassVar[int] = 2  # which of the sums is the number of images

    def __init__(self, device: torch.device, size: int) -> None:
        self.sums = torch.zeros(size, dtype=exact(device), device=device)

    @abstractmethod
    def update(self, loss: Loss, outputs: Any, aux: Sequence[Any], targets: Tensor) -> None:
        """Add a batch: its loss, what the heads give, and the targets. A process may have none of its images."""

    @abstractmethod
    def metrics(self, sums: Tensor) -> dict[str, float]:
        """The metrics that sums (size,), on the CPU, stand for by name, ``loss`` first."""

    def read(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """The metrics of all that was added. ``total`` sums over processes. Waits for the device.

        Raises ValueError where no image was added.
        """
        sums = self.sums.clone()
        sums = (sums if total is None else total(sums)).cpu()
        if not sums[self.images_at]:
            raise ValueError("no image was evaluated")
        return self.metrics(sums)

    def load(self, sums: Sequence[float]) -> None:
        """Go on from what an interrupted pass counted. Sums of another layout, of an older file, are left out."""
        if len(sums) == len(self.sums):
            self.sums += self.sums.new_tensor(sums)


class Score(NamedTuple):
    """What a search rewards and ranks by; higher is better.

    ``metric``: the metric of a meter that ``of`` turns into the score. ``axis`` and ``sentence`` say in words what a
    score is; the sentence takes the number. ``is_share``: of the images, so that their number says how noisy it is.
    """

    metric: str
    of: Callable[[float], float]
    axis: str
    sentence: str
    is_share: bool = False


def likelihood(loss: float) -> float:
    """100 exp(-loss): the order of minus the loss, but positive, since evolution squares scores."""
    return 100 * math.exp(-loss)


class Task(ABC):
    """What a network is trained for. A subclass says what differs from the defaults here."""

    name: ClassVar[str]  # as --task takes it
    retrained_as: ClassVar[str]  # the name of the task that networks are trained for after a search with this one
    head: ClassVar[str]  # in models.heads.HEADS

    # What it needs of the data.
    targets: ClassVar[str] = "labels"  # what comes with an image: labels, masks or boxes
    uses_labels: ClassVar[bool] = True  # False where the targets are made from the images alone
    kept_off: ClassVar[Mapping[str, Any]] = {}  # flags of a training that its targets cannot follow, as they are off

    # How it is measured.
    measure: ClassVar[str]  # the metric of an epoch that networks are compared by, higher is better
    final_measure: ClassVar[str]  # the same among ``measures``, where finished networks are compared
    result_measures: ClassVar[Sequence[str]]  # those that the result of a training states
    measure_title: ClassVar[str]  # the measure in words
    unit: ClassVar[str] = ""  # of the measure, as it is printed
    packages: ClassVar[Sequence[str]] = ()  # that measuring a finished network needs, beyond those of every run
    untrained_rankers: ClassVar[Collection[str] | None] = None  # that fit its networks; None: all
    draws_predictions: ClassVar[bool] = False  # whether it has a ``picture``: see DenseTask
    exportable: ClassVar[bool] = True  # whether a network alone, as one file, answers what the task is about

    @classmethod
    def search(cls) -> Task:
        """The task as shared weights are trained."""
        return cls()

    @classmethod
    def retrain(cls, smoothing: float = 0.0, aux_weight: float = 0.0) -> Task:
        """The task as a network is retrained: ``smoothing`` of labels, weight of the losses of auxiliary heads."""
        return cls()

    @classmethod
    def changed_defaults(cls, values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
        """Other values for flags that are not in ``given``. ``values``: of all flags."""
        return {}

    @classmethod
    def warning(cls, data: str, preset: Any) -> str | None:
        """What is wrong with this task on the data set of a name, in one line; None where nothing is known to be."""
        return None

    @classmethod
    def require_packages(cls) -> None:
        """Raise UsageError where a package is missing that measures a finished network."""
        missing = [package for package in cls.packages if find_spec(package) is None]
        if missing:
            names = " and ".join(missing)
            raise UsageError(
                f"--task {cls.name} needs {names} to measure a network: pip install -r requirements-optional.txt"
            )

    @classmethod
    def require_ranker(cls, name: str) -> None:
        """Raise UsageError for a ranker of networks, by the name that --rank_by takes, that does not fit this task."""
        if cls.untrained_rankers is not None and name not in ("shared", *cls.untrained_rankers):
            fitting = " or ".join(("shared", *cls.untrained_rankers))
            raise UsageError(f"--rank_by {name}: networks of --task {cls.name} can be ranked by {fitting} only")

    @classmethod
    def require_augmentation(cls, flags: Mapping[str, Any]) -> None:
        """Raise UsageError for flags, by name with their values, that change images without their targets."""
        on = [name for name, off in cls.kept_off.items() if flags[name] != off]
        if on:
            remedy = " ".join(f"--no-{n}" if cls.kept_off[n] is False else f"--{n} {cls.kept_off[n]}" for n in on)
            raise UsageError(
                f"--{on[0]} changes images without their {cls.targets}, --task {cls.name} cannot have it: {remedy}"
            )

    @classmethod
    def require_exportable(cls) -> None:
        """Raise UsageError where a network alone does not answer what the task is about."""
        if not cls.exportable:
            raise UsageError(
                f"--export: --task {cls.name} cannot be exported, part of what it does is outside of the network"
            )

    @classmethod
    def wrap(cls, loader: Any) -> Any:
        """The loader whose batches hold what a network is shown and its targets."""
        return loader

    def outputs(self, classes: int) -> int:
        """How many outputs the head has, for data of so many classes."""
        return classes

    @abstractmethod
    def loss(self, outputs: Any, aux: Sequence[Any], targets: Tensor) -> Loss:
        """The training loss of a batch, auxiliary heads included."""

    @abstractmethod
    def validation_loss(self, outputs: Any, targets: Tensor) -> Loss:
        """The plain loss of a batch, of the main head alone."""

    @abstractmethod
    def meter(self, device: torch.device, num_aux: int = 0) -> Meter:
        """A fresh meter for a network with ``num_aux`` auxiliary heads."""

    @classmethod
    def scores(cls) -> dict[str, Score]:
        """What a search can be rewarded by, by the name that --score takes; the first one is the default."""
        return {
            cls.measure: Score(cls.measure, float, cls.measure, cls.measure + " {:.6g}"),
            "loss": Score("loss", likelihood, "100 exp(-loss)", "100 exp(-loss) {:.6g}"),
        }

    @classmethod
    def choose_score(cls, name: str | None) -> tuple[str, Score]:
        """The score of a name, or the default one, with its name. Raises UsageError where there is none."""
        scores = cls.scores()
        name = name or next(iter(scores))
        if name not in scores:
            raise UsageError(f"--score {name}: --task {cls.name} can be scored by {' or '.join(scores)}")
        return name, scores[name]

    @abstractmethod
    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Everything that is measured of a finished network, for measures.json. ``names``: of its outputs."""

    def picture_of_measures(self, measured: Mapping[str, Any], names: Sequence[str]) -> Any:
        """The confusion matrix where the ``measures`` hold one that can be read; else None."""
        readable = "confusion" in measured and len(names) <= DRAWN_CLASSES
        return confusion_figure(measured["confusion"], names) if readable else None

    def predict(
        self, network: nn.Module, pictures: Any, names: Sequence[str], *, preset: Any, batch_size: int
    ) -> Tensor:
        """Write and print the answers for ``pictures`` (data.predicting); the images (n, 3, S, S) of the first batch.

        Raises UsageError where no picture can be read.
        """
        raise UsageError(f"--predict: --task {self.name} says nothing of single pictures")
