"""Studies: commands that run many searches or trainings and judge them. They may import every other room."""

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported, which every command here does
