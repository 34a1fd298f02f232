"""Starts, kills, second processes, damage and checks in random order, each run brought to its end and compared.

`python -m tests.storms.states [EXAMPLES]`; the process that forks the others never reads a table itself.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from tests.storms import storm

from chiasm.results.verify import verify

_ROOT = Path(tempfile.mkdtemp(prefix="states-"))
_PATIENCE = 60.0
WHOLE: dict[str, Path] = {}
TOLD = {"runs": 0, "starts": 0, "kills": 0, "damaged": 0, "verified": 0, "merged": 0}


class SharedRun(RuleBasedStateMachine):
    """One run in one directory, and the processes at work in it."""

    def __init__(self) -> None:
        super().__init__()
        TOLD["runs"] += 1
        self.verb = storm.SHARED[TOLD["runs"] % 2]
        self.out, self.log = _ROOT / f"run-{TOLD['runs']}", _ROOT / f"run-{TOLD['runs']}.log"
        self.children: dict[int, float] = {}
        self.altered: set[str] = set()
        """Shards of which a byte is another one; they are removed as soon as a process has opened the run."""

    def reap(self) -> None:
        """Processes that ended by themselves ended well."""
        for status in storm.ended(self.children).values():
            assert status == 0, self.log.read_text()[-3000:]

    @precondition(lambda self: len(self.children) < 3)
    @rule()
    def start(self) -> None:
        self.reap()
        child = storm.forked(lambda: storm.work(self.verb, self.out), self.log)
        self.children[child] = time.monotonic()
        TOLD["starts"] += 1

    @rule(seconds=st.floats(0, 0.15))
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self.reap()

    @precondition(lambda self: self.children)
    @rule(which=st.integers(0, 2), seconds=st.floats(0, 0.1))
    def kill(self, which: int, seconds: float) -> None:
        time.sleep(seconds)
        self.reap()
        if self.children:
            child = sorted(self.children)[which % len(self.children)]
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            del self.children[child]
            TOLD["kills"] += 1

    @precondition(lambda self: not self.children and (self.out / "manifest.json").exists())
    @rule()
    def check(self) -> None:
        """Whatever was killed, what is there is as it was written, but for what was altered and not mended since."""

        def verified() -> None:
            problems = verify(self.out).problems
            unknown = [one for one in problems if not any(name in one for name in self.altered)]
            assert not unknown, unknown

        _, status = os.waitpid(storm.forked(verified, self.log), 0)
        assert status == 0, self.log.read_text()[-3000:]
        TOLD["verified"] += 1

    @rule(which=st.integers(0, 50), place=st.integers(0, 10_000))
    def damage(self, which: int, place: int) -> None:
        """As soon as there is a shard all are killed, and a byte of one is another: its part is computed again."""
        if not self.children:
            self.start()
        patience = time.monotonic() + _PATIENCE
        while self.children and not self.shards() and time.monotonic() < patience:
            time.sleep(0.005)
            self.reap()
        while self.children:
            self.kill(0, 0)
        files = self.shards()
        if not files:  # the run has ended
            return
        file = files[which % len(files)]
        content = bytearray(file.read_bytes())
        content[place % len(content)] ^= 1
        file.write_bytes(content)
        self.altered.add(file.parent.name)
        TOLD["damaged"] += 1

        def noticed() -> None:
            assert verify(self.out).problems

        _, status = os.waitpid(storm.forked(noticed, self.log), 0)
        assert status == 0, self.log.read_text()[-3000:]
        self.start()

    @rule()
    def merge(self) -> None:
        """The run is brought to its end: its tables are those of one that nobody disturbed. It may be joined again."""
        self.finish()
        TOLD["merged"] += 1

    def shards(self) -> list[Path]:
        return sorted(self.out.glob("shards/[0-9]*/*.parquet"))

    def teardown(self) -> None:
        self.finish()

    def finish(self) -> None:
        self.start()
        patience = time.monotonic() + _PATIENCE
        while self.children and time.monotonic() < patience:
            self.reap()
            time.sleep(0.01)
        hung = list(self.children)
        for child in hung:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert not hung, self.log.read_text()[-3000:]
        wrong = storm.compared(self.verb, self.out, WHOLE[self.verb], _ROOT)
        assert not wrong, wrong


def main() -> None:
    """As many runs as asked for."""
    storm.prepared()
    WHOLE.update({verb: storm.undisturbed(verb, _ROOT)[0] for verb in storm.SHARED})
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    chosen = settings(
        max_examples=count, stateful_step_count=12, deadline=None, suppress_health_check=slow, database=None
    )
    run_state_machine_as_test(SharedRun, settings=chosen)
    print(TOLD)
    never = [name for name, times in TOLD.items() if not times]
    assert not never, f"never reached: {never}"


if __name__ == "__main__":
    main()
