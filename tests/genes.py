"""Genotypes as all their integers in one row, and random numbers and states that go on."""

import io

import torch

from controller.positions import CellPositions
from ops.genotype import Genotype
from ops.space import SPACES


def genes_of(genotype: Genotype) -> list[int]:
    return [gene for cell in genotype.cells for gene in cell]


def from_genes(genes: list[int], sharing: str, space: str = "slnas") -> Genotype:
    return CellPositions(len(genes) // SPACES[space].length, sharing, space).build(genes)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored(state: dict) -> dict:
    """A state as a file gives it back."""
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    return torch.load(file, weights_only=True)
