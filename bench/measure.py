"""Clocks, peak memory, the rate of plain matrix products, and a description of the machine."""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

RESULTS = Path(__file__).parent / "results"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Seconds:
    """`cpu`: process time of all threads, which other programs on the machine disturb least; `wall`: elapsed."""

    cpu: float
    wall: float


def timed(run: Callable[[], object], device: str) -> Seconds:
    """The time of one call, the device's queue drained before and after."""
    _drain(device)
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    _drain(device)
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def seconds(run: Callable[[], object], device: str) -> float:
    """Of one call: process time on a processor that others use too, else elapsed time."""
    found = timed(run, device)
    return found.cpu if device == "cpu" else found.wall


def reset_peak(device: str) -> None:
    """Start a new peak: of the device's allocations, or of this process's resident memory."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_bytes(device: str) -> int:
    """The peak since `reset_peak` (since the start of the process where Linux's counters are missing)."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    if _CLEAR.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def matmul_rate(rows: int, width: int, inner: int, device: str, dtype: torch.dtype, repeats: int = 9) -> float:
    """FLOP/s that `rows x width @ width x inner` reaches here: the best of `repeats`."""
    x = torch.randn(rows, width, device=device, dtype=dtype)
    w = torch.randn(inner, width, device=device, dtype=dtype)
    calls = 1 if device == "cpu" else 50

    def run() -> None:
        for _ in range(calls):
            torch.nn.functional.linear(x, w)

    run()
    best = min(seconds(run, device) for _ in range(repeats))
    return 2.0 * rows * width * inner * calls / best


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, smallest and largest of `n` values."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Summary":
        return cls(median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"

    def scaled(self, factor: float) -> "Summary":
        return Summary(self.median * factor, self.low * factor, self.high * factor, self.n)


def machine(device: str, threads: int) -> dict[str, str | int]:
    """What the numbers were measured on."""
    import transformers

    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    found: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": threads,
        "load average at the start": load,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if device != "cpu":
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _drain(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
