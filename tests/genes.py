"""Genotypes as all their integers in one row."""

from controller.positions import CellPositions
from ops.genotype import Genotype
from ops.space import SPACES


def genes_of(genotype: Genotype) -> list[int]:
    return [gene for cell in genotype.cells for gene in cell]


def from_genes(genes: list[int], sharing: str, space: str = "slnas") -> Genotype:
    return CellPositions(len(genes) // SPACES[space].length, sharing, space).build(genes)
