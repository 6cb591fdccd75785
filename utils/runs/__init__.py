"""Runs: what happens around the work, the run folder, going on, and the command that comes next."""
