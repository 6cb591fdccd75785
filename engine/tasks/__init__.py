"""What networks can be trained for, by the name that --task takes: one file a task, and one line of this table."""

from engine.tasks.base import Loss, Meter, Score, Task
from engine.tasks.classification import Classification
from engine.tasks.detection import Detection
from engine.tasks.pretext import Rotation
from engine.tasks.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {task.name: task for task in (Classification, Rotation, Segmentation, Detection)}
SCORES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.scores()))  # of any task, for --score

__all__ = ["SCORES", "TASKS", "Loss", "Meter", "Score", "Task"]
