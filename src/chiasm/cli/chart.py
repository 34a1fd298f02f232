"""`chiasm chart`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce
from chiasm.core.errors import ChiasmError, nearest
from chiasm.core.options import flag_of, singular

if TYPE_CHECKING:
    from chiasm.studies.run import Run


def chart(
    run: Path,
    name: str | None = None,
    /,
    *,
    width: Annotated[str | None, Parameter(show_default=False)] = None,
    cuts: Annotated[tuple[str, ...], Parameter(name="--cut", negative="", show_default=False)] = (),
    layers: Annotated[tuple[int, ...], Parameter(name="--layer", negative="", show_default=False)] = (),
    states: Annotated[tuple[int, ...], Parameter(name="--state", negative="", show_default=False)] = (),
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Draw one chart of a run as a file for a paper or a talk; without a name, list the charts there are.

    As wide as a column of a paper, two routes only, with its fonts in the file:

        chiasm chart runs/demo flow --width 3.3in --cut "image->question" --cut "image->last" --out routes.pdf

    Which charts there are, and what can be chosen in each:

        chiasm chart runs/demo

    Parameters
    ----------
    run
        Run directory, finished or not.
    name
        The chart.
    width
        On paper, as 3.3in, 17cm or 240pt; text is then 7 to 8 points. Default: the screen's.
    cuts
        Draw this route alone, written as in the run; repeat it for several.
    layers
        Draw this layer of a map; repeat it for several.
    states
        Draw this hidden state of a map; repeat it for several.
    out
        File to write; its end says what it is: .svg, .pdf, .png, .html (interactive, asks for nothing) or .json
        (Vega-Lite). Default: NAME.pdf, here.
    json
        Print one object for programs in place of words: `run`, and `charts` (name, question, caption, what can be
        chosen, whether the report shows it), or of one chart `chart`, `caption` (null where parts of it were chosen)
        and `file`.
    """
    from chiasm.studies.run import open_run

    opened = open_run(run)
    given = {key: value for key, value in (("cuts", cuts), ("layers", layers), ("states", states)) if value}
    if name is None:
        _require_unchosen(run, {**given, "width": width, "out": out})
        _list(opened, json)
        return
    choices = opened.choices(name)
    for wrong in given.keys() - set(choices):
        flags = [_flag(one) for one in choices]
        found = f"what can be chosen is {', '.join(flags)}" if flags else "nothing in it can be chosen but --width"
        todo = nearest(_flag(wrong), flags) or "Leave it out"
        raise ChiasmError(f"the chart `{name}` with {_flag(wrong)}", found, todo)
    file = Path(f"{name}.pdf") if out is None else out
    announce(f"chiasm chart: {name} of {run}.")
    opened.chart(name, width, **given).save(file)
    caption = None if given else opened.caption(name)
    if json:
        print_json({"run": str(run), "chart": name, "caption": caption, "file": str(file)})
        return
    from chiasm.cli.console import words

    words().print("\n".join([*([caption, ""] if caption else []), f"Chart: {file}"]))


def _list(run: "Run", json: bool) -> None:
    """The charts of a run: what each one answers, and what can be chosen in it."""
    there = [_listed(run, name) for name in run.charts]
    if json:
        print_json({"run": str(run.path), "charts": there})
        return
    from chiasm.cli.console import words

    console = words()
    for one in there:
        console.print(f"{one['name']}{''.join(f' [{_flag(key)} ...]' for key in one['choices'])}: {one['question']}")
    if not there:
        console.print(f"The run in {run.path} has no charts yet.")


def _listed(run: "Run", name: str) -> dict[str, Any]:
    drawing = run.reporter.drawings()[name]
    return {
        "name": name,
        "question": run.question(name),
        "caption": drawing.caption(),
        "choices": list(run.choices(name)),
        "reported": drawing.reported,
    }


def _require_unchosen(run: Path, given: dict[str, Any]) -> None:
    """**Errors:** `ChiasmError` for what only makes sense of one chart."""
    typed = [_flag(key) for key, value in given.items() if value]
    if typed:
        raise ChiasmError(f"chiasm chart {run} with {typed[0]}", "no chart is named", f"See `chiasm chart {run}`")


def _flag(choice: str) -> str:
    """The flag of a choice that Python names: `cuts` is `--cut`."""
    return flag_of(choice if choice in ("width", "out") else singular(choice))
