"""Policies over genotypes. They know the search space, never a network: a reward function is passed in."""
