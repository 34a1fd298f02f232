"""A cheap study of many small jobs, for processes that share a directory and are killed: `python -m` runs it too.

Rows are made from the example alone. `deadly` examples end the process that prepares or computes them.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.support.rundirs import TABLES, Spec

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.results import waiting
from chiasm.results.rundir import RunDirectory
from chiasm.runners.accumulator import Accumulator, accumulate
from chiasm.runners.driver import Computed
from chiasm.runners.examples import run_examples


class Counting(Accumulator[Example]):
    """One row per example, and the sum of irrational numbers, whose last bits depend on the order."""

    def __init__(self, seconds: float, deadly: Sequence[str] = ()) -> None:
        self.seconds, self.deadly, self.total = seconds, deadly, np.zeros(1)

    def prepare(self, index: int, example: Example) -> Example:
        if index % 11 == 5:
            raise ExampleError("it is bad")
        if example.id in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return example

    def compute(self, prepared: Sequence[Example]) -> Computed:
        time.sleep(self.seconds)
        rows = []
        for one in prepared:
            number = int(one.id.removeprefix("e"))
            self.total = self.total + np.sqrt(number + 0.1)
            about = {"example_id": one.id, "type": "all", "answer": f"{np.sin(number)!r}"}
            rows.append(about | {"generated": "a", "correct": True})
        return Computed({"eval": rows} if rows else {}, kept=len(rows))

    def state(self):
        return {"total": self.total}

    def restore(self, state):
        self.total = np.array(state.get("total", np.zeros(1)))

    def merge(self, state):
        self.total = self.total + state["total"]

    def tables(self):
        return {"sums": [{"total": float(self.total[0])}]}


@dataclass(frozen=True)
class CountingTask:
    """The run of so many examples in `out`, joined where it is there already. `summed`: sums beside the rows."""

    out: Path
    examples: int = 60
    batch: int = 2
    seconds: float = 0.01
    summed: bool = False
    deadly: tuple[str, ...] = ()
    dies_first: int = 0

    def load(self) -> None:
        """There is nothing to import."""

    def __call__(self, number: int, first: bool, opened: Callable[[], None]) -> None:
        if number < self.dies_first:
            os.kill(os.getpid(), signal.SIGKILL)
        waiting.SECONDS = 0.05
        chosen = [Example(id=f"e{k}", question="?") for k in range(self.examples)]
        work = Counting(self.seconds, self.deadly)
        with RunDirectory.open(
            self.out, "test", Spec(), TABLES, resume=True, facts={"asked": self.examples}
        ) as directory:
            opened()
            if directory.complete:
                return
            if self.summed:
                accumulate(work, chosen, directory, self.batch, "count", save_every=0.1)
            else:
                run_examples(work, chosen, directory, self.batch, "count")
            directory.take_turn()
            directory.finish()

    def join(self) -> RunDirectory:
        return RunDirectory.join(self.out, TABLES)


def main() -> None:
    out, examples, seconds, summed = sys.argv[1:5]
    from chiasm.runners.sharing import LocalProcesses, share

    task = CountingTask(Path(out), int(examples), seconds=float(seconds), summed=summed == "summed")
    workers = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    if workers == 1:
        task(0, True, lambda: None)
    else:
        share(task, workers, LocalProcesses(workers), task.join)


if __name__ == "__main__":
    main()
