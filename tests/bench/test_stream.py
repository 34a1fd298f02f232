"""The benchmark of streams measures processes of their own, and reports what they took."""

import pytest
from bench.stream import Run

from bench import stream


def test_the_cost_of_further_examples_is_a_difference(monkeypatch, capsys):
    took = {100: Run(500_000_000, 10.0), 300: Run(504_000_000, 12.0)}
    monkeypatch.setattr(stream, "_run", lambda verb, data, size: took[size])
    stream.stream(sizes=(300, 100))
    told = capsys.readouterr().out
    assert "10.0" in told.split("300")[-1]
    assert "+20.0" in told


@pytest.mark.heavy
def test_a_run_is_a_process_whose_peak_and_time_are_taken(tmp_path):
    found = stream._run("eval", "scenes", 6)
    assert found.cpu > 1
    assert 100e6 < found.peak < 4e9


def test_a_run_that_fails_is_no_measurement():
    with pytest.raises(SystemExit, match="ended with 2"):
        stream._run("eval", "no-such-data.jsonl", 6)
