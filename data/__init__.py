"""Data sets, splits, transforms and loaders."""
