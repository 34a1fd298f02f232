"""How much memory one example takes, roughly, and how much there is: what `--batch-size auto` goes by."""

from pathlib import Path

import torch

from chiasm.models.executors.memory import Sizes
from chiasm.models.view import ModelView

_SHARE = {"cpu": 0.25, "cuda": 0.5}
"""Of the free memory that a batch may be estimated to take: a CPU's is for other processes as well."""
_ALL_ELSE = 2
"""What is taken besides (the tower, what the allocator keeps), as a factor."""


def bytes_of_example(view: ModelView, length: int) -> int:
    """What a pass over one example of `length` positions takes, with its keys, values and states of all layers kept."""
    sizes, layers = Sizes.of(view), view.n_layers
    item = max(sizes.item, 4) if view.precision.raised else sizes.item
    states = (layers + 1) * length * sizes.width * item
    keys = layers * 2 * length * sizes.key_width * item
    inside = length * (6 * sizes.width + 3 * sizes.inner + 4 * sizes.query_width) * item
    scores = 3 * sizes.heads * length**2 * 4 if sizes.eager else 0
    logits = sizes.vocabulary * (item + 8)
    return _ALL_ELSE * (states + keys + inside + scores + logits)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device: of a GPU, or of this machine as far as this process may have it; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:  # a container may have less than the machine
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else min(free, max(0, int(limit) - int(used)))
    except (OSError, ValueError):
        return free


def examples_at_once(view: ModelView, length: int, most: int) -> int:
    """So many examples, a power of two and at most `most`, as the free memory of the model's device has room for."""
    free = free_bytes(view.device)
    if free is None:
        return most
    room = int(_SHARE.get(view.device.type, 0.25) * free) // bytes_of_example(view, length)
    return most if room >= most else 1 << max(0, room.bit_length() - 1)
