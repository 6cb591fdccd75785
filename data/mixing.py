"""Loaders around another one, and Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torchvision.transforms import v2

from data.loaders import Batch, Loader
from data.transforms import drawing
from utils.system.seeds import derived_seed


class WrappedLoader:
    """What a subclass does not say is as the ``loader`` says: ``num_images``, ``set_epoch``, ``split``, ..."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":  # looked for while a copy is made, which has none yet
            raise AttributeError(name)
        return getattr(self.loader, name)


class WatchedLoader(WrappedLoader):
    """The batches of a loader; ``check`` is called before each of them, and may raise to stop."""

    def __init__(self, loader: Loader, check: Callable[[], None]) -> None:
        super().__init__(loader)
        self.check = check

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            self.check()
            yield batch


class MixedLoader(WrappedLoader):
    """The batches of a loader, each mixed by MixUp or CutMix; labels (n,) become shares of classes (n, classes).

    Where both are on, one of them is drawn for each batch. ``mixup``, ``cutmix``: parameters of their beta
    distributions, 0 for off. The draws of a batch depend on seed, epoch, its number and the process alone.
    """

    def __init__(self, loader: Loader, num_classes: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        super().__init__(loader)
        kinds = ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        self.mix = v2.RandomChoice([kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha])

    def __iter__(self) -> Iterator[Batch]:
        loader = self.loader
        for number, batch in enumerate(loader, loader.start):  # the number in the epoch, also after a resume
            with drawing(derived_seed(loader.seed, "mix", loader.epoch, number, loader.rank)):
                images, labels = self.mix(batch.images, batch.labels)  # (n, 3, S, S), (n, classes)
            yield Batch(images, labels)
