"""How far a run is, where no terminal shows a bar."""

import logging

import pytest
from rich.console import Console

from chiasm.runners import progress as bars
from chiasm.runners.progress import progress, time_left


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def in_place(monkeypatch, **kind):
    monkeypatch.setattr(bars, "_console", lambda: Console(stderr=True, **kind))


def test_a_log_has_a_line_every_ten_seconds_with_the_time_left(clock, caplog, monkeypatch):
    in_place(monkeypatch, force_terminal=False)
    with caplog.at_level(logging.INFO, logger="chiasm"), progress() as bar:
        task = bar.add_task("flow", total=120, completed=20)
        for _ in range(30):  # a second each
            clock[0] += 1
            bar.advance(task)
    assert caplog.messages == [
        "flow: 30 of 120 examples, about 90 s left",
        "flow: 40 of 120 examples, about 80 s left",
        "flow: 50 of 120 examples, about 70 s left",
    ]


def test_a_terminal_has_a_bar_and_no_lines(clock, caplog, monkeypatch, capsys):
    in_place(monkeypatch, force_terminal=True)
    with caplog.at_level(logging.INFO, logger="chiasm"), progress() as bar:
        task = bar.add_task("flow", total=2)
        clock[0] += 60
        bar.advance(task)
        bar.refresh()
    assert caplog.messages == []
    assert "1/2" in capsys.readouterr().err


def test_a_notebook_has_one_line_that_is_cleared(clock, caplog, monkeypatch, capsys):
    in_place(monkeypatch, force_jupyter=True)
    with caplog.at_level(logging.INFO, logger="chiasm"), progress() as bar:
        task = bar.add_task("flow", total=10)
        for _ in range(3):
            clock[0] += 2
            bar.advance(task)
    written = capsys.readouterr().out
    assert "\n" not in written
    assert "flow: 3 of 10 examples, about 15 s left" in written
    assert written.endswith("\r" + 100 * " " + "\r")
    assert caplog.messages == []


def test_times_are_rounded_as_people_say_them():
    given = {3: "about 5 s", 61: "about 60 s", 100: "about 2 min", 3000: "about 50 min", 9000: "about 2.5 h"}
    assert [time_left(seconds) for seconds in given] == [f"{said} left" for said in given.values()]
