"""Small runs: how many, how large, and what they say of the whole."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.extrapolation import Trial, line
from chiasm.studies import trial
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.study import study
from chiasm.studies.trial import forecast


class Clock:
    """Time that passes only where a run says so."""

    def __init__(self, once, each, least=1):
        self.now, self.once, self.each, self.least, self.sizes = 0.0, once, each, least, []

    def monotonic(self):
        return self.now

    def run(self, count, whole=False):
        if count < self.least:
            raise ChiasmError("finish", "nothing is left", "Take more")
        self.sizes.append(count)
        seconds = self.once + self.each * count
        self.now += seconds
        return Trial(count, seconds, seconds, 100 * count, 50)


def tried(monkeypatch, clock, asked, batch=8, seconds=20.0):
    monkeypatch.setattr(trial, "time", clock)
    return trial._trials(clock.run, asked, batch, seconds)


def test_runs_grow_until_the_time_is_used_up(monkeypatch):
    clock = Clock(once=0.5, each=0.02)
    trials = tried(monkeypatch, clock, asked=100_000)
    assert trials[0].first
    assert not any(one.first for one in trials[1:])
    assert clock.sizes[:3] == [2, 2, 16]
    assert clock.sizes == sorted(clock.sizes)
    assert 15 < clock.now < 22
    assert line(trials, "seconds").at(100_000) == pytest.approx(0.5 + 2000)


def test_a_run_that_is_small_is_measured_whole(monkeypatch):
    clock = Clock(once=0.1, each=0.01)
    assert tried(monkeypatch, clock, asked=30)[-1].examples == 30


@pytest.mark.parametrize(("once", "sizes"), [(30.0, [2, 2, 6]), (100.0, [2, 6])])
def test_a_study_whose_examples_are_slow_has_two_sizes_and_no_more(monkeypatch, once, sizes):
    clock, each = Clock(once=once, each=8.0), 8.0
    trials = tried(monkeypatch, clock, asked=1000)
    assert [one.examples for one in trials] == sizes
    assert line(trials, "seconds").at(1000) == pytest.approx(once + 1000 * each)
    least, most = line(trials, "seconds").within(1000)
    # What a first run pays once cannot be told from what it pays for its examples.
    assert (least, most) == pytest.approx((8030, 8030) if len(sizes) > 2 else (100, 100 + 1000 * 148 / 6))


@pytest.mark.parametrize("once", [22.0, 40.0])
def test_where_nearly_all_is_done_once_files_are_those_of_runs_that_do_everything(monkeypatch, once):
    """Charts appear as the examples become enough for them: their files grow up to 16 examples, and no more."""
    clock = Clock(once=once, each=0.1)

    def run(count, whole=False):
        return clock.run(count)._replace(shown=50_000 * min(count, 16))

    monkeypatch.setattr(trial, "time", clock)
    trials = trial._trials(run, 1000, 8, 20.0)
    assert clock.sizes == [2, 2, 6, 16, 32]
    assert line(trials, "shown").at(1000) == pytest.approx(50_000 * 16)
    assert line(trials, "seconds").at(1000) == pytest.approx(once + 100)


def test_what_is_paid_once_does_not_make_later_runs_too_small(monkeypatch):
    """Runs of fewer than 16 examples leave things out: a line through those alone is none of time."""
    clock, begun = Clock(once=8.0, each=0.1), []

    def run(count, whole=False):
        made = clock.run(count)
        imports = 0.0 if begun else 20.0
        begun.append(count)
        clock.now += imports
        return made._replace(seconds=made.seconds + imports)

    monkeypatch.setattr(trial, "time", clock)
    assert [one.examples for one in trial._trials(run, 160, 8, 20.0)] == [2, 2, 16, 48]


def test_one_that_has_nothing_left_of_few_examples_takes_more(monkeypatch):
    assert tried(monkeypatch, Clock(1.0, 0.1, least=5), asked=1000)[0].examples == 8


def test_an_error_that_more_examples_do_not_mend_is_the_users(monkeypatch):
    with pytest.raises(ChiasmError, match="nothing is left"):
        tried(monkeypatch, Clock(1.0, 0.1, least=10**9), asked=1000)


@pytest.mark.parametrize("asked", [100, 160, 2_000, 50_000])
def test_what_is_done_for_the_first_examples_only_is_counted_for_those(monkeypatch, asked):
    """64 examples take five times as long as any other: neither is the whole taken for more of them, nor for none."""
    clock, most = Clock(once=0.5, each=0.02), 64
    share = most / asked

    def run(count, whole=False):
        dear = min(most, count) if whole else trial._part_of(most, asked, count)
        made = clock.run(count)
        clock.now += 0.1 * dear
        return made._replace(seconds=made.seconds + 0.1 * dear, more=dear - share * count)

    monkeypatch.setattr(trial, "time", clock)
    trials = trial._trials(run, asked, 8, 20.0, share)
    expected = 0.5 + 0.02 * asked + 0.1 * most
    assert line(trials, "seconds").at(asked) == pytest.approx(expected, rel=0.02)


def test_what_is_made_of_the_first_examples_at_the_end_stops_growing_and_is_not_taken_for_a_slope(monkeypatch):
    """As statistics over all pairs of examples with controls: until there are 16, each adds more than the last."""
    clock, most, asked = Clock(once=15.0, each=0.1), 64, 160

    def run(count, whole=False):
        dear = trial._part_of(most, asked, count)
        made = clock.run(count)
        more = 10.0 * min(1.0, dear / 16) ** 2
        clock.now += more
        return made._replace(seconds=made.seconds + more, more=dear - most / asked * count)

    monkeypatch.setattr(trial, "time", clock)
    trials = trial._trials(run, asked, 8, 20.0, most / asked)
    assert clock.sizes == [2, 2, 40, 80]
    assert line(trials, "seconds").at(asked) == pytest.approx(15.0 + 0.1 * asked + 10.0, rel=0.02)
    # Of a run in which they are few, small runs stay small.
    assert trial._enough(5_000, 64 / 5_000) == trial.ENOUGH


def test_options_that_count_first_examples_are_scaled(monkeypatch):
    seen = []

    def run(study, spec, count, folder):
        seen.append((count, spec.control_limit))
        return Trial(count, 0.1 * count, 0.1 * count, 100, 10)

    monkeypatch.setattr(trial, "_run", run)
    forecast(study("align"), AlignSpec("tiny", limit=640), seconds=0.01)
    assert seen[0] == (2, 1)
    assert all(limit == trial._part_of(64, 640, count) for count, limit in seen if count != limit)


def test_a_forecast_leaves_nothing_behind_and_tells_sizes_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = forecast(study("eval"), EvalSpec("tiny", limit=500, workers=2), seconds=1.0)
    assert found.examples == 500
    assert not list(tmp_path.iterdir())
    assert found.total("seconds") > found.loading
    assert found.memory > 100e6
    assert found.device_memory is None
    assert found.total("disk") > max(one.tables + one.shown for one in found.trials)
    least, most = found.range("processor")
    assert least <= found.total("processor") <= most
    words = str(found)
    assert words.startswith("eval, 500 examples, cpu")
    assert "no confidence interval" in words


@pytest.mark.parametrize(("verb", "options", "asked"), [
    ("eval", {"model": "tiny"}, 240),
    ("flow", {"model": "tiny", "limit": 7}, 7),
    ("flow", {"model": "tiny", "limit": 7, "ids": ["{first}"]}, 1),
    ("paper", {}, 60),
    ("compare", {"models": ["tiny", "tiny-random"], "limit": 9}, 9),
    ("project", {"model": "tiny", "domains": ["surfaces"], "limit": 12}, 12),
])  # fmt: skip
def test_how_many_examples_a_run_is_about(verb, options, asked):
    if "ids" in options:
        from chiasm.data import examples

        options = options | {"ids": [next(examples("scenes", 1)).id]}
    found = study(verb)
    assert found.examples_asked(found.spec(**options)) == asked
