"""Policies over genotypes. They know the search space, never a network: scores are told to them."""
