"""A trained network as one file beside its run, and the line that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.reports.evaluate import output_names
from utils.reports.export import export
from utils.reports.export_needs import SUFFIXES


def export_trained(
    network: nn.Module, folder: Path, kind: str, *, facts: Mapping[str, Any], images: Tensor, normalise: bool
) -> dict[str, Any]:
    """Write ``network.*`` into the folder, compared with the network on ``images``; returns what to report.

    ``facts``: of the data, as a checkpoint holds them. ``normalise``: the file takes images in [0, 1].
    """
    mean, std = facts["statistics"]["mean"], facts["statistics"]["std"]
    images = images[:32].cpu()  # (n, 3, S, S)
    if normalise:
        images = images * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    written = export(
        network.cpu(),
        folder / f"network{SUFFIXES[kind]}",
        kind,
        image_size=facts["image_size"],
        classes=output_names(facts["classes"], network.num_classes),
        mean=mean,
        std=std,
        normalise=normalise,
        images=images,
        arguments=network.arguments(),
    )
    speed = written.latency_ms["file"]
    line = (
        f"exported {written.path}: {written.size_bytes / 1e6:.2f} MB, {written.parameters} parameters, "
        f"{network.macs(facts['image_size'])} MACs, largest difference of a logit {written.largest_difference:.1e}, "
        f"{speed[1]:.2f} ms at batch 1, {speed[32]:.2f} ms at batch 32"
    )
    return {**asdict(written), "path": str(written.path), "line": line}
