"""The vocabulary of the search space: the operations, the table that names them, the genotype."""
