"""The task of giving every image one label."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.tasks.base import Loss, Meter, Score, Task, device_of, exact, likelihood
from engine.tasks.classification_measures import measure_classifier
from engine.tasks.pictures import left_out, require_pictures
from models.folding import folded
from utils.system.files import write_whole
from utils.system.terminal import show, tell

AUX_WEIGHT = 0.4
PREDICTIONS = Path("predictions.csv")  # where the command is run


def search_loss(logits: Tensor, aux: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Cross entropy + 0.4 * weighted mean of the auxiliary ones, head i weighted i + 1 (docs/method.md, section 4.1).

    Logits (n, classes) of every head, labels (n,). The sum over the images.
    """
    loss, *further = (F.cross_entropy(x, labels, reduction="sum") for x in (logits, *aux))
    if further:
        weights = range(1, len(further) + 1)
        weighted = sum(w * x for w, x in zip(weights, further, strict=True))
        loss = loss + AUX_WEIGHT * weighted / sum(weights)
    return loss


def retrain_loss(
    logits: Tensor,
    aux: Sequence[Tensor],
    labels: Tensor,
    *,
    smoothing: float = 0.1,
    aux_weight: float = AUX_WEIGHT,
) -> Tensor:
    """Cross entropy with label smoothing + ``aux_weight`` * sum of the auxiliary ones (docs/method.md, section 5).

    Logits (n, classes) of every head, labels (n,) or shares of classes (n, classes). The sum over the images.
    """
    loss, *further = (F.cross_entropy(x, labels, label_smoothing=smoothing, reduction="sum") for x in (logits, *aux))
    return loss + aux_weight * sum(further)


class ClassificationMeter(Meter):
    """Loss, top-1 accuracy and that of each auxiliary head, in percent."""

    def __init__(self, device: torch.device, num_aux: int = 0) -> None:
        super().__init__(device, 3 + num_aux)

    @torch.no_grad()
    def update(self, loss: Loss, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> None:
        """Add a batch: its loss, logits (n, classes) of every head, labels (n,) or (n, classes)."""
        if targets.dim() == 2:  # mixed: the class with the larger share counts
            targets = targets.argmax(1)
        correct = [(x.argmax(1) == targets).sum() for x in (outputs, *aux)]
        values = [loss.total.detach(), correct[0], loss.count, *correct[1:]]
        self.sums += torch.stack([value.to(self.sums.dtype) for value in values])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """``loss``, ``top1``, ``aux0_top1``, ..."""
        loss, top1, n, *aux = sums.tolist()
        return {
            "loss": loss / n,
            "top1": 100 * top1 / n,
            **{f"aux{i}_top1": 100 * correct / n for i, correct in enumerate(aux)},
        }


class Classification(Task):
    """One label an image. ``criterion(logits, aux, labels)``: the training loss, summed over images."""

    name = retrained_as = "classify"
    head = "classify"
    measure = final_measure = "top1"
    measure_title, unit = "accuracy", " %"
    result_measures = ("top1", "top5", "loss", "calibration_error", "shift_consistency")

    def __init__(self, criterion: Callable[[Tensor, Sequence[Tensor], Tensor], Tensor] = search_loss) -> None:
        self.criterion = criterion

    @classmethod
    def retrain(cls, smoothing: float = 0.1, aux_weight: float = AUX_WEIGHT) -> Classification:
        """As the chosen network is trained."""
        return cls(partial(retrain_loss, smoothing=smoothing, aux_weight=aux_weight))

    def loss(self, outputs: Tensor, aux: Sequence[Tensor], targets: Tensor) -> Loss:
        """The criterion of logits (n, classes), auxiliary logits and labels, a mean over images."""
        total = self.criterion(outputs, aux, targets)
        return Loss(total, torch.full_like(total, len(targets)))

    def validation_loss(self, outputs: Tensor, targets: Tensor) -> Loss:
        """Plain cross entropy, in double precision where the device has it."""
        total = F.cross_entropy(outputs.to(exact(outputs.device)), targets, reduction="sum")
        return Loss(total, torch.full_like(total, len(targets)))

    def meter(self, device: torch.device, num_aux: int = 0) -> ClassificationMeter:
        """Loss and accuracies."""
        return ClassificationMeter(device, num_aux)

    @classmethod
    def scores(cls) -> dict[str, Score]:
        """The accuracy; and what a mean cross entropy says of the probabilities that the right classes get."""
        return {
            "top1": Score("top1", float, "reward images correct (%)", "{:.2f} % of the reward images", is_share=True),
            "loss": Score(
                "loss",
                likelihood,
                "probability of the right class, geometric mean (%)",
                "{:.2f} % probability of the right class (geometric mean of the reward images)",
            ),
        }

    def measures(
        self, network: nn.Module, loader: Any, names: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Accuracies, by class too, confusion, calibration and shift consistency."""
        return measure_classifier(network, loader, names, generator)

    def predict(
        self, network: nn.Module, pictures: Any, names: Sequence[str], *, preset: Any, batch_size: int
    ) -> Tensor:
        """Print the likeliest outputs of every picture, and write the probabilities of all as CSV, while they come."""
        network, first = folded(network), []

        def rows() -> Iterator[tuple[str, Tensor]]:
            for files, images in pictures.batches(preset, batch_size, device_of(network)):
                first[:] = first or [images]
                for file, values in zip(files, probabilities(network, images), strict=True):
                    tell(top_line(file, values, names))
                    yield file, values
            require_pictures(first, pictures)

        write_csv(PREDICTIONS, rows(), names)
        tell(f"written to {PREDICTIONS}{left_out(pictures)}")
        return first[0]


@torch.inference_mode()
def probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities (n, K) of images (n, 3, S, S), on the CPU."""
    return network(images)[0].softmax(dim=1).cpu()


def top_line(name: str, values: Tensor, classes: Sequence[str], k: int = 5) -> str:
    """``name: class 0.97, class 0.02, ...``: the likeliest classes, in one line that any console can show."""
    best = values.topk(min(k, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return f"{show(name)}: " + ", ".join(f"{show(classes[i])} {value:.4f}" for i, value in pairs)


def write_csv(path: Path, rows: Iterable[tuple[str, Tensor]], classes: Sequence[str]) -> None:
    """One line an image: name, class, and the probability of every class; in UTF-8, whole or not at all.

    The rows are written as they come, none is kept. Names that are not UTF-8 keep their bytes.
    """

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(text)
        writer.writerow(["image", "class", *classes])
        for name, values in rows:
            writer.writerow([name, classes[int(values.argmax())], *(f"{v:.6f}" for v in values.tolist())])
        text.detach()  # which flushes it, and leaves the file open

    write_whole(path, write)
