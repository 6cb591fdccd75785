"""Runnable measurements."""

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported, which every command here does
