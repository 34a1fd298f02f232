"""What may be asked about an input: the names alone, so that the command line can offer them without loading data."""

from typing import Literal, get_args

Task = Literal["qa", "caption", "pope-random", "pope-popular", "pope-adversarial"]
TASKS: tuple[Task, ...] = get_args(Task)
