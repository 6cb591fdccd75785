"""Drawing from the search space without a policy: uniform and varied genotypes, and drawing until some fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ops.genotype import Genotype
from ops.space import SPACES

Fits = Callable[[Genotype], bool]
MAX_DRAWS = 2000  # for one genotype, before a limit counts as one that nothing meets


class NothingFitsError(RuntimeError):
    """No genotype of many draws meets the constraints."""


def from_genes(genes: Sequence[int], sharing: str, space: str = "slnas") -> Genotype:
    """Build a genotype from its integers in one row."""
    length = SPACES[space].length
    cells = [genes[i : i + length] for i in range(0, len(genes), length)]
    return Genotype.from_lists(cells, sharing, space)


def genes_of(genotype: Genotype) -> list[int]:
    """List all integers of a genotype in one row."""
    return [gene for cell in genotype.cells for gene in cell]


def gene_sizes(num_cells: int, space: str = "slnas") -> Tensor:
    """How many values each integer of a genotype can take: (num_cells * length,)."""
    one = [SPACES[space].options(position) for position in range(SPACES[space].length)]
    return torch.tensor(one * num_cells)


def _uniform_genes(n: int, num_cells: int, generator: torch.Generator, space: str) -> Tensor:
    """Integers of ``n`` genotypes, uniform over what can be drawn: (n, genes)."""
    sizes = gene_sizes(num_cells, space)
    drawn = torch.rand(n, len(sizes), generator=generator, dtype=torch.float64)  # (n, genes)
    return apart((drawn * sizes).long(), generator, space)


def apart(genes: Tensor, generator: torch.Generator, space: str) -> Tensor:
    """Genes, (n, genes), whose nodes read two different states, in spaces that want that; in others the same genes.

    Where the second input of a node is the first again, it is drawn anew from the others. So uniform pairs become
    uniform pairs of different inputs.
    """
    if not SPACES[space].distinct:
        return genes
    first, second = genes[:, 0::4], genes[:, 2::4]  # (n, nodes of all encodings) each
    others = gene_sizes(genes.shape[1] // SPACES[space].length, space)[2::4] - 1
    fresh = (torch.rand(first.shape, generator=generator, dtype=torch.float64) * others).long()
    fresh += fresh >= first  # from a number among the others to a state
    genes = genes.clone()
    genes[:, 2::4] = torch.where(second == first, fresh, second)
    return genes


def _genotypes(genes: Tensor, sharing: str, space: str) -> tuple[Genotype, ...]:
    """The genotypes of which ``genes``, (n, genes), has one in each row."""
    return tuple(from_genes(row, sharing, space) for row in genes.tolist())


def uniform(
    n: int, num_cells: int, sharing: str, generator: torch.Generator, space: str = "slnas"
) -> tuple[Genotype, ...]:
    """Draw ``n`` genotypes, every integer uniform over its options, given those before it."""
    return _genotypes(_uniform_genes(n, num_cells, generator, space), sharing, space)


def varied(
    n: int, num_cells: int, sharing: str, generator: torch.Generator, space: str = "slnas"
) -> tuple[Genotype, ...]:
    """Draw ``n`` genotypes that differ more than uniform ones do: each encoding mixes the operations in its own way.

    The shares that it draws them with are of a Dirichlet distribution with all parameters 1/2, as squares of normal
    numbers are. Inputs are uniform.
    """
    operations = len(SPACES[space].operations)
    genes = _uniform_genes(n, num_cells, generator, space).view(n * num_cells, -1)  # (encodings, genes)
    shares = torch.randn(len(genes), operations, generator=generator, dtype=torch.float64).square()
    edges = genes.shape[1] // 2
    genes[:, 1::2] = torch.multinomial(shares, edges, replacement=True, generator=generator)
    return _genotypes(genes.view(n, -1), sharing, space)


POPULATIONS = {"uniform": uniform, "varied": varied}  # by name, what draws the genotypes of a study

POLICY = "policy"  # paths as the strategy draws them; all others are drawn without it
# By the name that --path_sampling takes, what draws the paths that shared weights are trained on.
PATHS: dict[str, Callable[..., tuple[Genotype, ...]] | None] = {POLICY: None, **POPULATIONS}


def draw_fitting(draw: Callable[[int], Sequence[Genotype]], n: int, fits: Fits | None) -> tuple[Genotype, ...]:
    """Draw ``n`` genotypes that fit, in the order in which ``draw(count)`` gives them.

    Raises NothingFitsError after MAX_DRAWS draws in a row without one.
    """
    if fits is None:
        return tuple(draw(n))
    found: list[Genotype] = []
    misses = 0
    while len(found) < n:
        for genotype in draw(max(n - len(found), 8)):
            if fits(genotype):
                found.append(genotype)
                misses = 0
            else:
                misses += 1
        if misses >= MAX_DRAWS:
            raise NothingFitsError(f"none of {misses} genotypes in a row meets the limits")
    return tuple(found[:n])
