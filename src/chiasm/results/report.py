"""One page about a run that can be sent, printed and read anywhere: findings, figures, limits, how to repeat it."""

import json
import re
import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich.console import RenderableType

from chiasm.core.claims import Claim
from chiasm.core.errors import ChiasmError
from chiasm.core.options import IN_MEMORY, MISSING, Declared, Options, declared, singular
from chiasm.results.charts.page import as_json, libraries, policy, starter
from chiasm.results.claims import read_claims
from chiasm.results.findings import Finding
from chiasm.results.ledger import Entry, ledger
from chiasm.results.numbers import NumberTable, number_tables
from chiasm.results.provenance import without_machine_paths
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import CLAIMS
from chiasm.results.series import with_inputs
from chiasm.results.storage import whole_file
from chiasm.results.tables import conform

S = TypeVar("S", bound=Options)
_MAIN = 3
_PER_SESSION = ("resume", "fresh")
WRONG = "answered wrongly"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that can be drawn, and its caption. `reported`: it stands in the report.

    `draw` takes the size of a chart that is interactive where it can be; `flat` figures are drawn once, as they are.
    """

    draw: Callable[..., Any]
    caption: Callable[[], str]
    reported: bool = True
    flat: bool = True


def control_notes(controls: bool, baseline: bool, unknown: str) -> list[str]:
    """What a run lacks: `controls`, or a `baseline` with random weights. `unknown`: what controls would have shown."""
    if not controls:
        return [f"No control was run: {unknown} is not known."]
    if not baseline:
        return ["No model with random weights stands beside this one; --baseline names one of the same shape."]
    return []


def shared_models_note(controls: pl.DataFrame | None) -> list[str]:
    """How many models with random weights share the examples of a table of controls, and what intervals allow for."""
    if controls is None or not controls.height:
        return []
    models = controls["sample"].n_unique() if "sample" in controls.columns else 1
    if models == 1:
        return ["One model with random weights stands for all: how far others differ from it is not known here."]
    return [
        f"{models} models with random weights share the examples: the interval of a difference from them holds "
        "over inputs and over one more such model."
    ]


class Reporter(ABC, Generic[S]):
    """Findings, figures and notes of a run, from its tables and its spec alone; never needs torch.

    `questions`: the question that each kind of claim answers, in the order of the report's tables.
    """

    questions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, directory: RunDirectory, spec: S) -> None:
        self.directory, self.spec = directory, spec

    @property
    @abstractmethod
    def title(self) -> str:
        """The headline of the report."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What was found, strongest first."""

    @abstractmethod
    def drawings(self) -> dict[str, Drawing]:
        """The figures by name, in the order of the report."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What this run cannot tell."""

    @cached_property
    def claims(self) -> pl.DataFrame:
        """The table `claims`: kept, or made from the other tables where a run has none."""
        kept = self.table(CLAIMS.name)
        if kept is not None:
            return kept
        derived = {} if self.directory.derive is None else self.directory.derive(self.directory)
        if CLAIMS.name not in derived:
            raise ChiasmError(f"the claims of `{self.directory.path}`", "its study makes none", "Read its tables")
        return conform(CLAIMS, derived[CLAIMS.name])

    @cached_property
    def claimed(self) -> list[Claim]:
        """The same as values."""
        return read_claims(self.claims)

    @cached_property
    def ranked(self) -> list[Finding]:
        """The findings, computed once."""
        return self.findings()

    @cached_property
    def numbers(self) -> list[NumberTable]:
        """What was found as tables, one for each question."""
        return number_tables(self.claimed, self.questions)

    def table(self, name: str) -> pl.DataFrame | None:
        """A table of the run, or None where it has none of that name."""
        return self.directory.table(name) if name in self.directory.tables() else None

    def with_inputs(self, name: str) -> pl.DataFrame | None:
        """A table of the run with the input of every example, or None where it has none of that name."""
        rows = self.table(name)
        return None if rows is None else with_inputs(rows, self.table("examples"))

    def layouts(self) -> dict[str, pl.DataFrame]:
        """Its tables once more in the layout of a paper, by caption; most studies have none."""
        return {}

    @property
    def present(self) -> set[str]:
        """What the run has that a published claim may be about: the names of its tables; studies add theirs."""
        return set(self.directory.tables())

    @property
    def published(self) -> list[Entry]:
        """What was published about what this run touches."""
        return ledger().concerning(self.directory.manifest["study"], self.present)

    def summary(self) -> list[RenderableType]:
        """What the command line prints when the run has ended: counts, failures, the main findings."""
        counts = self.directory.counts()
        lines: list[RenderableType] = []
        if not self.directory.complete:
            lines.append(
                "This run is not finished; what follows rests on what there is. The same command with --resume goes on."
            )
        reasons = Counter(_reason(item["reason"]) for item in self.directory.left_out())
        without = "".join(f"{count} {reason}, " for reason, count in reasons.most_common())
        lines.append(f"{counts['kept']} of {counts['asked']} examples kept, {without}{counts['failed']} failed.")
        lines += [f"  failed: {one['example_id']}: {one['reason']}" for one in self.directory.failures()[:_MAIN]]
        lines += [f"{number}. {one.text}" for number, one in enumerate(self.ranked[:_MAIN], start=1)]
        return lines


def _reason(reason: str) -> str:
    """Why examples were left out, without what differs between them."""
    return WRONG if reason.startswith("answered ") else f"left out ({reason})"


def write_report(run: RunDirectory, reporter: Reporter[Any], figures: Sequence[tuple[str, str]]) -> Path:
    """Write `report.html` into the run and return its path. The file needs no network and no other file.

    `figures`: stems of saved figures (`figures.save`) with their captions, in order.

    **Errors:** `ChiasmError` if a figure has not been saved; `FullDiskError`.
    """
    findings = sorted(reporter.ranked, key=lambda finding: -finding.strength)
    in_memory = _in_memory(run, reporter.spec)
    shown = [_shown(run, number, *figure) for number, figure in enumerate(figures, start=1)]
    interactive = any(figure.spec for figure in shown)
    page = _template().render(
        title=reporter.title,
        policy=policy() if interactive else None,
        scripts=[Markup(script) for script in (libraries(), starter())] if interactive else [],
        css=Markup(_file("report.css")),
        facts=_facts(run),
        complete=run.complete,
        findings=[finding.text for finding in findings],
        figures=shown,
        layouts=reporter.layouts(),
        published=reporter.published,
        standings=Counter(entry.status for entry in reporter.published).most_common(),
        tables=[_tabled(run, name) for name in run.tables()],
        notes=[*reporter.notes(), *_rounding_notes(run)],
        counts=run.counts(),
        left_out=Counter(item["reason"] for item in run.left_out()).most_common(),
        failures=run.failures(),
        command=python_call(run, reporter.spec) if in_memory else command_line(run, reporter.spec),
        in_memory=in_memory,
        filled=filled_in(run, reporter.spec),
        provenance=_provenance(run),
    )
    path = run.path / "report.html"
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def command_line(run: RunDirectory, spec: Options) -> str:
    """The command that repeats the run: every option that was given."""
    given = _given(run, spec)
    words = ["chiasm", run.manifest["study"]]
    for one in declared(type(spec)):
        if one.name in given and one.name not in _PER_SESSION:
            words += _words(one, given[one.name])
    return without_machine_paths(shlex.join(words))


def python_call(run: RunDirectory, spec: Options) -> str:
    """The call that repeats the run; what was given in memory stands there as a variable."""

    def written(name: str, value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(written(singular(name), item) for item in value)}]"
        return name if value == IN_MEMORY else repr(value)

    given = _given(run, spec)
    words = [
        f"{one.name}={written(one.name, given[one.name])}"
        for one in declared(type(spec))
        if one.name in given and one.name not in _PER_SESSION
    ]
    return without_machine_paths(f"chiasm.{run.manifest['study']}({', '.join(words)})")


def filled_in(run: RunDirectory, spec: Options) -> list[str]:
    """What was not given and not at its declared default either, as `--data scenes`."""
    given = _given(run, spec)
    words = [
        shlex.join(_words(one, one.recorded(value)))
        for one in declared(type(spec))
        if one.option.identity and one.name not in given and one.default is not MISSING
        for value in [getattr(spec, one.name)]
        if value != one.checked(one.default)
    ]
    return [without_machine_paths(word) for word in words]


def _given(run: RunDirectory, spec: Options) -> dict[str, Any]:
    # Runs of the version before kept only what decides about their rows.
    return run.manifest.get("given") or spec.given()


def _in_memory(run: RunDirectory, spec: Options) -> list[str]:
    """The options whose values no command can name."""
    given = _given(run, spec)
    return [name for name, value in given.items() if IN_MEMORY in _several(value)]


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(one: Declared, value: Any) -> list[str]:
    if value is None:
        return []
    values = [str(item) for item in _several(value)]
    if one.argument:
        return values
    if isinstance(value, bool):
        return [one.flag if value else one.flag.replace("--", "--no-", 1)]
    return [word for item in values for word in (one.flag, item)]


class _Shown(NamedTuple):
    stem: str
    caption: str
    svg: str
    narrow: bool
    label: str
    spec: str | None


class _Tabled(NamedTuple):
    name: str
    frame: pl.DataFrame
    schema: Any
    classes: list[str]


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"unbroken": _unbroken, "cell": _cell}
    return environment.from_string(_file("report.html.j2"))


def _file(name: str) -> str:
    return files("chiasm.results").joinpath(name).read_text(encoding="utf-8")


def _facts(run: RunDirectory) -> list[str]:
    manifest, counts = run.manifest, run.counts()
    model = manifest.get("model")
    name = model.get("id", "") if isinstance(model, dict) else model
    kept = f"{counts['kept']} of {counts['asked']} examples"
    precision = manifest.get("precision") or manifest.get("dtype")
    template = manifest.get("loaded", {}).get("template", "own")
    return [
        *([f"model {name}"] if name else []),
        kept,
        *(str(fact) for fact in (precision, manifest.get("device")) if fact),
        *([] if template == "own" else [f"chat template {template}"]),
    ]


def _rounding_notes(run: RunDirectory) -> list[str]:
    """What a run computed in half precision cannot tell."""
    precision = str(run.manifest.get("precision", ""))
    if precision not in ("computed in bfloat16", "computed in float16"):
        return []
    return [f"It was {precision}, as the model is served: rounding to half precision is in every number above."]


def _unbroken(text: str) -> Markup:
    """Layer ranges keep together at the end of a line."""
    return Markup(re.sub(r"\d+-\d+", r'<span class="range">\g<0></span>', escape(text)))


def _shown(run: RunDirectory, number: int, stem: str, caption: str) -> _Shown:
    path = run.path / "figures" / f"{stem}.svg"
    if not path.exists():
        raise ChiasmError(f"show the figure `{stem}`", "it has not been saved", "Save it before the report")
    label = f"Figure {number}: {caption.partition('. ')[0]}"
    svg, points = _inline(path.read_text(encoding="utf-8"), stem, label)
    spec = path.with_name(f"{stem}.vl.json")
    interactive = as_json(json.loads(spec.read_text(encoding="utf-8"))) if spec.exists() else None
    return _Shown(stem, caption, svg, points < 300, label, interactive)


def _inline(svg: str, stem: str, label: str) -> tuple[str, float]:
    """The drawing as an element of the page, and its width in points.

    Names inside a drawing are unique only there, and its style rules would reach the whole page: names get the stem in
    front, rules become attributes of the drawing.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    mark = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r'\b((?:xlink:)?href)="#([^"]+)"', rf'\1="#{mark}-\2"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', opening)
    assert box is not None, "matplotlib writes a viewBox into every SVG"
    width = float(box.group(1))
    opening = re.sub(r' (width|height|version|xmlns(:xlink)?)="[^"]*"', "", opening)
    opening += f' role="img" aria-label="{escape(label)}" style="stroke-linejoin:round;stroke-linecap:butt"'
    return f"{opening}>{rest}".strip(), width


def _tabled(run: RunDirectory, name: str) -> _Tabled:
    frame = run.table(name)
    classes = [' class="number"' if dtype.is_numeric() else "" for dtype in frame.dtypes]
    return _Tabled(name, frame, run.schema(name), classes)


def _cell(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _provenance(run: RunDirectory) -> list[tuple[str, str]]:
    manifest = run.manifest
    rows = [("spec", manifest["spec_hash"]), ("started", manifest["started"]), *manifest["versions"].items()]
    if isinstance(manifest.get("model"), dict):
        rows += [(f"model {key}", value) for key, value in manifest["model"].items()]
    loaded = {key: value for key, value in manifest.get("loaded", {}).items() if value not in ("", 0)}
    rows += [(f"loaded {key.replace('_', ' ')}", value) for key, value in loaded.items()]
    rows += [(f"data {key}", value) for key, value in manifest.get("data", {}).items() if not isinstance(value, dict)]
    rows += [
        (key, manifest[key])
        for key in ("seed", "dtype", "precision", "device", "platform")
        if manifest.get(key) is not None
    ]
    if manifest.get("git"):
        dirty = " with uncommitted changes" if manifest["git"]["dirty"] else ""
        rows.append(("git", f"{manifest['git']['revision']}{dirty}"))
    if manifest["resumed"]:
        rows.append(("resumed", f"{len(manifest['resumed'])} times"))
    return [(str(key), str(value)) for key, value in rows]
