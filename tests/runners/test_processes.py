"""Jobs in several processes: a mistake in one of them reads as it would in this one."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.runners.driver import KeyedJob
from chiasm.runners.processes import map_in_processes


def test_a_mistake_in_another_process_is_reported_as_one():
    begun: list[str] = []
    with pytest.raises(ChiasmError, match="three: cannot be done"):
        list(map_in_processes(several, groups(["one", "two"], ["three"]), 2, lambda job: begun.append(job.payload)))
    assert "three" in begun
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(map_in_processes(several, groups(["zero"], ["one"]), 2, lambda job: None))


def groups(*words: list[str]) -> list[list[KeyedJob[str]]]:
    return [[KeyedJob(key, word) for key, word in enumerate(group)] for group in words]


def several(number: int):
    return length


def length(job: str) -> int:
    if job == "three":
        raise ChiasmError("three", "cannot be done", "Leave it out")
    return len(job) // (job != "zero")
