"""Reports of every study on tables that lack what pages expect: one type, one example, one layer, all right, ..."""

import json
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path

import polars as pl
import pytest

import chiasm
from chiasm.results import manifest as manifests
from chiasm.results.charts.files import specification, svg
from chiasm.results.page.write import write_report
from chiasm.results.tables import read, read_schema, write
from chiasm.studies.run import Run, open_run

CUTS = ("image->last", "question->last")
RUNS = {
    "eval": {"blind": True},
    "look": {"random_models": 2, "maps": 1, "heads": True, "queries": ("last", "question")},
    "flow": {"cuts": CUTS, "window": 3, "keep": "all", "random_models": 1, "words": 2},
    "patch": {"keep": "all", "random_models": 1, "tokens": 1, "spans": ("image", "last")},
    "align": {"random_models": 2, "vocabulary_tokens": 40, "control_limit": 4},
    "skip": {"random_models": 2, "calibration": 6, "batch_size": 3, "repeats": 1, "draws": 1},
    "prune": {"calibration": 6, "sparsities": (0.5,), "combine": False},
    "compare": {"models": ("tiny", "tiny-random"), "tasks": ()},
}
_QUICK = ("eval",)
Change = Callable[[str, pl.DataFrame], pl.DataFrame | None]


def first(column: str, *also: str) -> Change:
    """The rows of the first value of a column (and of `also`)."""

    def change(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        if column not in frame.columns or not frame.height:
            return frame
        known = [value for value in frame[column].unique(maintain_order=True) if value not in also]
        return frame.filter(pl.col(column).is_in([*known[:1], *also]))

    return change


def marked(right: bool) -> Change:
    def change(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(correct=pl.lit(right)) if "correct" in frame.columns else frame

    return change


def alone(name: str, frame: pl.DataFrame) -> pl.DataFrame | None:
    """Without anything that a result is compared with."""
    beside = ("controls", "_twin", "noise", "blind", "words", "lens", "attention")
    if any(part in name for part in beside) and name != "attention":
        return None
    return frame.filter(pl.col("shown") != "blank") if "shown" in frame.columns else frame


CHANGES: dict[str, Change] = {
    "as it is": lambda name, frame: frame,
    "one type": first("type", "all"),
    "one example": first("example_id"),
    "one layer": first("layer"),
    "one cut": first("cut"),
    "one model": first("model"),
    "all right": marked(True),
    "all wrong": marked(False),
    "no controls": alone,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run per study, computed when it is first asked for."""
    known: dict[str, Path] = {}

    def run(verb: str) -> Path:
        if verb not in known:
            path = tmp_path_factory.mktemp("run") / verb
            options = dict(RUNS[verb])
            call = chiasm.evaluate if verb == "eval" else getattr(chiasm, verb)
            call(options.pop("models", "tiny"), limit=12, out=path, **options)
            known[verb] = path
        return known[verb]

    return run


@pytest.fixture(scope="module")
def drawn():
    """Whether a specification can be drawn; of those that several changes leave as they are, each is drawn once."""
    known: set[str] = set()

    def draw(spec: dict) -> bool:
        text = json.dumps(spec, sort_keys=True)
        if text not in known and svg(spec).startswith("<svg"):
            known.add(text)
        return text in known

    return draw


def leaves_all(source: Path, change: Change) -> bool:
    """Whether a change finds nothing in the tables of a run that it would change."""
    for file in (source / "tables").glob("*.parquet"):
        frame = read(file)
        after = frame if file.stem == "claims" else change(file.stem, frame)
        if after is None or not after.equals(frame, null_equal=True):
            return False
    return True


def changed(source: Path, target: Path, change: Change) -> Run:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("figures", "report.html"))
    for file in (target / "tables").glob("*.parquet"):
        schema, frame = read_schema(file), None if file.stem == "claims" else change(file.stem, read(file))
        file.unlink()
        if frame is not None and frame.height:
            write(file, schema, [frame])
    # As an earlier version left it, without digests: these are other tables than the run wrote.
    manifest = manifests.read(target)
    assert manifest is not None
    names = sorted(file.stem for file in (target / "tables").glob("*.parquet"))
    manifests.write(target, manifest | {"tables": names, "format": 2})
    return open_run(target)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("verb", [one if one in _QUICK else pytest.param(one, marks=pytest.mark.heavy) for one in RUNS])
def test_a_report_needs_no_row_that_may_be_missing(verb, change, made, drawn, tmp_path):
    if change != "as it is" and leaves_all(made(verb), CHANGES[change]):
        pytest.skip("the tables stay as they are")
    run = changed(made(verb), tmp_path / "run", CHANGES[change])
    assert run.claims.height or verb == "compare"
    texts = [finding.text for finding in run.reporter.ranked]
    assert texts
    assert not [text for text in texts if "nan" in text.lower().split() or "None" in text]
    for name, drawing in run.reporter.drawings().items():
        assert drawing.caption()
        assert drawn(specification(run.chart(name)))
    assert run.reporter.notes() is not None
    assert run.reporter.summary()
    assert run.reporter.layouts() is not None
    assert {one.kind for one in run.reporter.claimed} <= set(run.reporter.questions)
    headline = run.reporter.headline()
    assert headline.endswith((".", "?"))
    assert not {"nan", "none", "inf"} & set(headline.lower().replace(".", "").split()) or "none is" in headline
    page = write_report(run.directory, run.reporter, []).read_text("utf-8")
    assert escape(headline.split(";")[0].split("->")[0], quote=False).strip() in page
