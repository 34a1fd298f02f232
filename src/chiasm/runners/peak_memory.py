"""The most memory that a piece of work held: resident, and on a GPU."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import final

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # proc(5)


@final
class PeakMemory:
    """Peaks from when it is made on. Where the system cannot forget a former peak (all but Linux), since the start."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device if device is not None and device.type == "cuda" else None
        with suppress(OSError):
            _RESET.write_text(_FORGET_PEAK)
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)

    def resident(self) -> int:
        """Bytes of this process in memory at the highest; those of processes that it started are not in it."""
        with suppress(OSError, StopIteration):
            found = next(one for one in _STATUS.read_text().splitlines() if one.startswith("VmHWM:"))
            return int(found.split()[1]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def on_device(self) -> int | None:
        """Bytes that torch held on the GPU at the highest; None without one."""
        return None if self._device is None else torch.cuda.max_memory_allocated(self._device)
