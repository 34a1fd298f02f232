"""What a run will take: time, memory, disk and price, with the small runs that say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from chiasm.core.extrapolation import Line, Trial
from chiasm.results.images import MAX_THUMBNAILS

QUANTITIES: Final = ("seconds", "processor", "tables", "shown")


@final
@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run of `examples` will take, and the small runs behind it.

    `loading` and `loading_processor`: seconds until the model is in memory, which are part of the whole. `memory`: the
    highest resident bytes of the process, `device_memory` those that torch held on the GPU (None without one): batches
    are as large in the small runs, so they hardly grow with the number of examples.

    Assumption: the rest of the data is like its first examples, and the machine as busy as now.
    """

    verb: str
    examples: int
    loading: float
    loading_processor: float
    found: Mapping[str, Line]
    memory: int
    device_memory: int | None
    device: str
    threads: int
    trials: tuple[Trial, ...]

    @property
    def measured_whole(self) -> bool:
        """Whether the run is so small that one of the small runs was all of it."""
        return any(one.examples >= self.examples for one in self.trials)

    @property
    def each(self) -> float:
        """Seconds of one example more."""
        return self.found["seconds"].each

    def total(self, quantity: str) -> float:
        """Of the whole run the `seconds`, those of the `processor`, or the bytes on `disk`."""
        return sum(part for part, _, _ in self._parts(quantity))

    def range(self, quantity: str) -> tuple[float, float]:
        """The least and the most of it, by the slopes between the small runs."""
        parts = self._parts(quantity)
        return sum(least for _, least, _ in parts), sum(most for _, _, most in parts)

    def _parts(self, quantity: str) -> list[tuple[float, float, float]]:
        """Estimate, least and most of each part."""
        if quantity == "disk":
            # A run keeps pictures of so many examples at most, and its page shows no others.
            return [self._one("tables", self.examples), self._one("shown", min(self.examples, MAX_THUMBNAILS))]
        before = {"seconds": self.loading, "processor": self.loading_processor}[quantity]
        return [(before, before, before), self._one(quantity, self.examples)]

    def _one(self, quantity: str, examples: int) -> tuple[float, float, float]:
        whole = [getattr(one, quantity) for one in self.trials if one.examples >= self.examples]
        if whole:
            return whole[-1], whole[-1], whole[-1]
        found = self.found[quantity]
        return found.at(examples), *found.within(examples)

    def price(self, hourly: float) -> float:
        """At so much for an hour of the machine."""
        return self.total("seconds") / 3600 * hourly

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for programs."""
        return {
            "study": self.verb,
            "examples": self.examples,
            "device": self.device,
            "threads": self.threads,
            "loading_seconds": self.loading,
            "seconds": self._estimated("seconds"),
            "processor_seconds": self._estimated("processor"),
            "disk_bytes": self._estimated("disk"),
            "memory_bytes": self.memory,
            "device_memory_bytes": self.device_memory,
            "trials": [one._asdict() for one in self.trials],
        }

    def lines(self, hourly: float | None = None) -> list[str]:
        """All of it in words."""
        least, most = self.range("seconds")
        each = f"{duration(least)} to {duration(most)}; {_short(self.each)} for each example, the rest once"
        within = "measured: one of the small runs was all of it" if self.measured_whole else each
        rows = [
            ("time", duration(self.total("seconds")), within),
            ("processor time", duration(self.total("processor")), ""),
            ("memory", size(self.memory), "of the process, at the most"),
            ("GPU memory", size(self.device_memory or 0), "held by tensors, at the most"),
            ("disk", size(self.total("disk")), "tables, charts and report"),
            ("price", f"{self.price(hourly or 0):.2f}", f"at {hourly or 0:g} an hour"),
        ]
        left_out = {"GPU memory" if self.device_memory is None else "", "price" if hourly is None else ""}
        shown = [row for row in rows if row[0] not in left_out]
        sizes = ", ".join(str(one.examples) for one in self.trials)
        spent = sum(one.seconds for one in self.trials) + self.loading
        return [
            f"{self.verb}, {self.examples:,} examples, {self.device}, {self.threads} threads",
            "",
            *(f"  {name:<15} {value:>9}{f'  ({about})' if about else ''}" for name, value, about in shown),
            "",
            f"From runs of {sizes} examples, in {duration(spent)}. The range is that of the slopes between them, no "
            "confidence interval. It holds where the other examples are like the first, and the machine as busy as "
            "now.",
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _estimated(self, quantity: str) -> dict[str, float]:
        least, most = self.range(quantity)
        return {"estimate": self.total(quantity), "least": least, "most": most}


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def size(count: float) -> str:
    """`12 kB`, `3.4 MB`, `1.2 GB`."""
    for unit, value in (("GB", 1e9), ("MB", 1e6)):
        if count >= value:
            return f"{count / value:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
