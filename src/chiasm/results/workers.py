"""Processes that share one directory: who is at work, and which part of the work is whose.

Every process keeps a file in `.workers` that it changes every few seconds. Another one takes it for dead when that file
has not changed for `STALE` seconds of its own clock (clocks need not agree), and at once where both run on one machine
and the system says that the lock beside the file is free. A part of the work is taken by making a file that only one
can make, `NAME.0`; where its owner is dead it is taken over by making `NAME.1`, and so on: numbers only grow, so
that of several who try at once, or come late, one wins.

A process that was only paused, and comes back, may at worst compute again what another has taken over.
"""

import hashlib
import json
import os
import platform
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, final

from filelock import FileLock, Timeout

from chiasm.core.errors import ChiasmError
from chiasm.results.storage import create_once

FOLDER = ".workers"
BEAT = 3.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds without one after which a process counts as dead. Network file systems show changes late."""
_POLL = 0.05
_LENGTH = 4096  # of a worker's file, which is overwritten in place
_OPENING, _JOINED = ".opening", ".joined"
_CLAIM = re.compile(r"(?P<name>.+)\.(?P<number>\d+)(?P<free>\.free)?")
_PLAN = "plan-"
_KEPT = 16  # former claims of one name


@cache
def this_machine() -> str:
    """A mark of the machine since it was started, by which processes know that they can ask it about each other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        boot = ""
    return hashlib.sha256(f"{platform.node()}/{boot}".encode()).hexdigest()[:16]


@final
class Worker:
    """This process, among those that share the directory `root`. It shows signs of life until `leave`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self.folder.mkdir(exist_ok=True)
        self.id = secrets.token_hex(6)
        self._lock = FileLock(self.folder / f"{self.id}.lock", thread_local=False)
        with suppress(Timeout, OSError, NotImplementedError):  # without it signs of life must do
            self._lock.acquire(timeout=0)
        self._state, self._number, self._at_work = _OPENING, 0, []
        self._seen: dict[str, tuple[bytes, float, bool]] = {}
        self._writing, self._left = threading.Lock(), threading.Event()
        self._handle = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        self._sign()
        self._heart = threading.Thread(target=self._beat, name="signs of life", daemon=True)
        self._heart.start()

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.id}{self._state}"

    def join(self) -> None:
        """Be one of those who write into the directory. What the dead have left is forgotten where nobody is there."""
        if not self.others():
            for one in {*self._files(_JOINED), *self._files(_OPENING)} - {self.id}:
                if not self.is_alive(one):
                    self._forget(one)
        before, self._state = self._file, _JOINED
        os.rename(before, self._file)

    def leave(self) -> None:
        """End well: what was claimed and not finished is free at once."""
        if self._left.is_set():
            return
        self._left.set()
        with self._writing:
            os.close(self._handle)
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
        self._lock.release(force=True)
        with suppress(OSError):
            (self.folder / f"{self.id}.lock").unlink(missing_ok=True)

    def note(self, *at_work: str) -> None:
        """Say what is being worked on, for the case that it ends this process."""
        self._at_work = list(at_work)
        self._sign(kept=False)

    def others(self) -> list[str]:
        """Those who have joined and are alive, or not known to be dead yet."""
        return [one for one in self._files(_JOINED) if one != self.id and self.is_alive(one)]

    def deaths(self) -> Counter[str]:
        """How many died at what: by what they had noted."""
        found: Counter[str] = Counter()
        for one in self._files(_JOINED):
            if one != self.id and not self.is_alive(one):
                found.update(_read(self.folder / f"{one}{_JOINED}").get("at_work", ()))
        return found

    def is_alive(self, other: str) -> bool:
        """Whether another is at work, as far as can be known by now."""
        return self._standing(other) != "dead"

    def is_shared(self) -> bool:
        """Whether somebody else is known to be at work; it takes a while where that is on another machine."""
        return any(self._standing(one) == "alive" for one in self.others())

    def _standing(self, other: str) -> Literal["alive", "dead", "unknown"]:
        content = self._content(other)
        if content is None:
            return "dead"
        here = _state(content).get("machine") == this_machine()
        if here and self._is_unlocked(other):
            return "dead"
        now = time.monotonic()
        before, since, moved = self._seen.get(other, (content, now, here and self._lock.is_locked))
        if content != before:
            since, moved = now, True
        self._seen[other] = content, since, moved
        if now - since > STALE:
            return "dead"
        return "alive" if moved else "unknown"

    def _content(self, other: str) -> bytes | None:
        for state in (_JOINED, _OPENING):
            with suppress(FileNotFoundError):
                return (self.folder / f"{other}{state}").read_bytes()
        return None

    def claim(self, name: str) -> bool:
        """Take the part of the work called `name`; False where another one has it who is not known to be dead."""
        number, owner = self._latest(name)
        if owner == self.id:
            return True
        if owner and self.is_alive(owner):
            return False
        try:
            won = create_once(self.folder / f"{name}.{number + 1}", self.id.encode())
        except FileNotFoundError:
            found = "the directory is no longer there"
            raise ChiasmError(f"go on with the run in `{self.folder.parent}`", found, "Begin anew") from None
        if won and number >= _KEPT:
            (self.folder / f"{name}.{number - _KEPT}.free").unlink(missing_ok=True)
        return won

    def holds(self, name: str) -> bool:
        """Whether a part of the work is still this process's."""
        return self._latest(name)[1] == self.id

    def release(self, name: str) -> None:
        """Give back what was claimed."""
        number, owner = self._latest(name)
        if owner == self.id:
            with suppress(FileNotFoundError):
                os.rename(self.folder / f"{name}.{number}", self.folder / f"{name}.{number}.free")

    def plan(self, label: str, noun: str, first: int, last: int, total: int) -> None:
        """Say for whoever watches what work there is: jobs from key `first` to `last`, `total` examples."""
        work = {"label": label, "noun": noun, "first": first, "last": last, "total": total}
        create_once(self.folder / f"{_PLAN}{first}", json.dumps(work).encode())

    def plans(self) -> list[dict[str, Any]]:
        """The work that there is, as far as it was declared."""
        return sorted((_read(file) for file in self.folder.glob(f"{_PLAN}*")), key=lambda plan: plan.get("first", 0))

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Wait for `name`, hold it in the block and give it back."""
        while not self.claim(name):
            time.sleep(_POLL)
        try:
            yield
        finally:
            self.release(name)

    def forget_claims(self, *kept: str) -> None:
        """Remove what everybody has claimed, but for the names `kept`: the work is done."""
        for file in self.folder.iterdir():
            match = _CLAIM.fullmatch(file.name)
            if file.name.startswith(_PLAN) or (match and match["name"] not in kept):
                file.unlink(missing_ok=True)

    def _latest(self, name: str) -> tuple[int, str]:
        """The highest number of a claim and who made it; -1 and nobody where there is none."""
        number, owner = -1, ""
        for file in self.folder.glob(f"{name}.*"):
            match = _CLAIM.fullmatch(file.name)
            if match and match["name"] == name and int(match["number"]) > number:
                number = int(match["number"])
                try:
                    owner = "" if match["free"] else file.read_text()
                except FileNotFoundError:  # given back meanwhile
                    owner = ""
        return number, owner

    def _files(self, state: str) -> list[str]:
        return sorted(file.name.removesuffix(state) for file in self.folder.glob(f"*{state}"))

    def _forget(self, dead: str) -> None:
        for end in (_JOINED, _OPENING, ".lock"):
            (self.folder / f"{dead}{end}").unlink(missing_ok=True)

    def _is_unlocked(self, other: str) -> bool:
        """Whether the system says that the process is gone; False where it cannot know."""
        file = self.folder / f"{other}.lock"
        if not self._lock.is_locked or not file.exists():
            return not file.exists()
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):
            return False
        lock.release()
        return True

    def _beat(self) -> None:
        while not self._left.wait(BEAT):
            self._sign()

    def _sign(self, *, kept: bool = True) -> None:
        """Overwrite the own file. `kept`: put it on the disk, where other machines see it."""
        with self._writing:
            if self._left.is_set():
                return
            self._number += 1
            state = {"machine": this_machine(), "number": self._number, "at_work": self._at_work}
            # Written in place: whoever took this process for dead has no use for the file any more, and nothing else
            # is overwritten. A disk that is full has room for it, as it is as long as it was.
            with suppress(OSError):
                os.lseek(self._handle, 0, os.SEEK_SET)
                os.write(self._handle, json.dumps(state)[: _LENGTH - 1].ljust(_LENGTH - 1).encode() + b"\n")
                if kept:
                    os.fsync(self._handle)


def _read(file: Path) -> dict[str, Any]:
    try:
        return _state(file.read_bytes())
    except FileNotFoundError:
        return {}


def _state(content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(content)
    except ValueError:  # read while it was being written
        return {}
    return state if isinstance(state, dict) else {}
