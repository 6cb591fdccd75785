"""A loader around another one: as it in all but the batches."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

from data.loaders import Loader

Own = TypeVar("Own", bound="WrappedLoader")


class WrappedLoader:
    """What a subclass does not say is as the ``loader`` says: ``num_images``, ``set_epoch``, ``part``, ..."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":  # asked for while a copy is made, which has none yet
            raise AttributeError(name)
        return getattr(self.loader, name)

    def read_by(self: Own, workers: int) -> Own | None:
        """The same loader with so many workers; None where no worker reads."""
        loader, other = self.loader.read_by(workers), copy(self)
        other.loader = loader
        return None if loader is None else other
