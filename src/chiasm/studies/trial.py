"""Time, memory and disk of a run before it is run: small runs of its first examples, extrapolated."""

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from chiasm.core.errors import ChiasmError
from chiasm.core.extrapolation import ENOUGH, Line, Trial, line
from chiasm.core.options import declared
from chiasm.runners.peak_memory import PeakMemory
from chiasm.runners.progress import without_progress
from chiasm.studies.forecast import QUANTITIES, Forecast
from chiasm.studies.inputs import view_of
from chiasm.studies.options import ReadingOptions, StudySpec
from chiasm.studies.run import finished
from chiasm.studies.study import Study

SECONDS: Final = 20.0
"""That the small runs take, as far as the study allows."""
_FIRST: Final = 2
_LARGEST_FIRST: Final = 64
_GROWTH: Final = 3
_DEAR_GROWTH: Final = 2
"""Where one small run takes longer than all should: the least from which a slope follows."""
_LONGEST: Final = 6
"""So many times the seconds of all, one small run may take where files cannot be told from smaller ones."""
_FAR: Final = 3
_SEEN: Final = 6
"""So many examples for which more is done show in a small run what they cost."""
_all = logging.getLogger("chiasm")
_log = logging.getLogger("chiasm.plan")


def forecast(
    study: Study, spec: StudySpec, seconds: float = SECONDS, since: tuple[float, float] | None = None
) -> Forecast:
    """What a run of `spec` will take. Small runs of it are made in a temporary directory for about `seconds`.

    `since`: the clock and processor time (`time.monotonic`, `time.process_time`) when a command began, whose imports
    are part of what a run takes; by default now.

    What a study does once, whatever the number of examples, is done in each of them, so they can take longer.

    **Errors:** `ChiasmError` for a study whose options have no limit, and those of the study itself.
    """
    names = {one.name for one in declared(type(spec))}
    if "limit" not in names:
        raise ChiasmError(f"plan {study.verb}", "this study has no --limit, so no small run of it", "Run it as it is")
    asked = study.examples_asked(spec)
    spec = spec.complete(workers=1, runner="processes")  # small runs are made here, on a model in memory
    begin, processor = since or (time.monotonic(), time.process_time())
    device = None
    if "model" in names:
        view = view_of(getattr(spec, "model"), spec)  # noqa: B009 (a spec whose type is not known here)
        spec, device = spec.complete(model=view), view.device
    loading, used = time.monotonic() - begin, time.process_time() - processor
    memory = PeakMemory(device)
    with tempfile.TemporaryDirectory(prefix="chiasm-plan-") as folder, _quietly():
        firsts = {name: most for name, most in _of_first(spec).items() if most < asked}
        share = max(firsts.values(), default=asked) / asked

        def run(count: int, whole: bool = False) -> Trial:
            # As large a part of a small run as of the whole one, so that time grows with the examples alone.
            part = {n: min(most, count) if whole else _part_of(most, asked, count) for n, most in firsts.items()}
            more = max(part.values()) - share * count if part else 0.0
            return _run(study, spec.complete(**part), count, Path(folder))._replace(more=more)

        trials = _trials(run, asked, spec.batch, seconds, share)
    return Forecast(
        study.verb,
        asked,
        loading,
        used,
        {name: _line(trials, name) for name in QUANTITIES},
        memory.resident(),
        memory.on_device(),
        str(device or "cpu"),
        torch.get_num_threads(),
        tuple(trials),
    )


def _of_first(spec: StudySpec) -> dict[str, int]:
    """The options that count first examples, for which more is done than for others."""
    return {one.name: most for one in declared(type(spec)) if one.option.of_first and (most := getattr(spec, one.name))}


def _part_of(most: int, asked: int, count: int) -> int:
    return max(1, round(most / asked * count))


def _line(trials: Sequence[Trial], quantity: str) -> Line:
    if len({one.examples for one in trials}) > 1:
        return line(trials, quantity)
    return Line(getattr(trials[0], quantity), 0.0, 0.0, 0.0)  # the run itself


class _Run(Protocol):
    """A small run. `whole`: with all that is done for first examples, as far as there are so many of them."""

    def __call__(self, count: int, whole: bool = False) -> Trial: ...


def _trials(run: _Run, asked: int, batch: int, seconds: float, share: float = 1.0) -> list[Trial]:
    """Runs of more and more examples, until the time is used up or one was the whole.

    `share`: of the examples of the whole run, those for which more is done. Where that is so few that small runs have
    hardly any, one of them is made again with more, which says what these cost.

    The first is the smallest in which an example is left: those answered wrongly may be left out. It is repeated, as it
    paid for what comes once only, unless it took far longer than all should.
    """
    begin = time.monotonic()
    first = _smallest(run, asked)
    trials = [first]
    if first.examples >= asked:
        return trials
    enough = _enough(asked, share)
    if first.seconds < _FAR * seconds:
        trials.append(run(first.examples)._replace(first=False))
    # Calls of less than a batch say little about those of a whole one, as far as there is time for one: what the first
    # run took for imports and the like is no reason against it.
    slow = trials[-1].seconds > seconds
    size = first.examples * _GROWTH if slow else max(first.examples * _GROWTH, batch, enough)
    while True:
        size = min(size, asked)
        spent = time.monotonic() - begin
        sizes = {one.examples for one in trials}
        large = {one for one in sizes if one >= enough}
        # A run of few examples leaves out statistics and charts: a slope from there to a larger one is none of time.
        if len(sizes) > 1 and len(large) != 1:
            expected = line(trials, "seconds")
            if not large and expected.at(enough) <= _LONGEST * seconds:
                size = enough  # tables and charts of fewer examples grow faster than those of many
            else:
                left = seconds - spent
                # The last one is as large as the time that is left allows, and worth it only if it is larger by far.
                affordable = int((left - max(0.0, expected.once)) / max(expected.each, 1e-9))
                if affordable < 1.5 * max(sizes):
                    return trials
                size = min(size, affordable)
        trials.append(run(size)._replace(first=False))
        if size >= asked:
            return trials
        if size >= ENOUGH and share * size < _SEEN and not any(one.more >= 1 for one in trials):
            trials.append(run(size, whole=True)._replace(first=False))
        size *= _DEAR_GROWTH if trials[-1].seconds > seconds else _GROWTH


def _enough(asked: int, share: float) -> int:
    """Examples from which on a small run does what the whole one does, for its first examples too.

    What is made of those at the end of a run (statistics over pairs, say) grows with them until there are `ENOUGH`.
    Where so many of them would make a small run large, it has what there is.
    """
    several = math.ceil(ENOUGH / share)
    return several if several <= min(_LARGEST_FIRST, asked // _GROWTH) else ENOUGH


def _smallest(run: _Run, asked: int) -> Trial:
    size = min(_FIRST, asked)
    while True:
        try:
            return run(size)._replace(first=True)
        except ChiasmError:
            # With so few, nothing may be left, or too little for what the study asks of its examples.
            if size >= min(asked, _LARGEST_FIRST):
                raise
            size = min(2 * size, asked)


def _run(study: Study, spec: StudySpec, count: int, folder: Path) -> Trial:
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    begin, processor = time.monotonic(), time.process_time()
    ids = tuple(spec.ids) if isinstance(spec, ReadingOptions) else ()
    part: dict[str, Any] = {"ids": ids[:count]} if ids else {"limit": count}
    small = {**part, "out": out, "resume": False, "fresh": False}
    finished(study.run(spec.complete(**small)), out)
    seconds, used = time.monotonic() - begin, time.process_time() - processor
    _log.info("A run of %d examples: %.1f s.", count, seconds)
    written = _bytes_in(out)
    tables = _bytes_in(out / "tables")
    return Trial(count, seconds, used, tables, written - tables)


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the words and bars of runs that are none of the user's."""
    level, own = _all.level, _log.level
    _log.setLevel(_all.getEffectiveLevel())
    _all.setLevel(logging.ERROR)
    try:
        with without_progress():
            yield
    finally:
        _all.setLevel(level)
        _log.setLevel(own)
