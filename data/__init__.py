"""Data sets, splits, transforms and loaders; ``data/prepare/`` holds commands that training never imports."""
