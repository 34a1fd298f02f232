"""`chiasm eval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from chiasm.cli.options import Model, Place, Study
from chiasm.data.tasks import Task

if TYPE_CHECKING:
    from chiasm.api import Run


def evaluate(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    task: Task = "qa",
    metric: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    objects: Path | None = None,
    blind: Annotated[bool, Parameter(negative="")] = False,
    relaxed: Annotated[bool, Parameter(negative="")] = False,
    max_new_tokens: int | None = None,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """How well does the model answer, by type, and how well without seeing the image?

    Greedy answers, measured as their data are: right when equal to the label (stripped, case ignored), VQA accuracy
    where there are several annotators, CIDEr-D and CHAIR for descriptions, POPE for yes and no.

        chiasm eval tiny --blind
        chiasm eval tiny --task caption
        chiasm eval tiny --task pope-adversarial
        chiasm eval llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 200

    Parameters
    ----------
    task
        The data's own questions, or descriptions, or whether objects are there (POPE, from boxes).
    metric
        exact, vqa, cider, chair or pope; repeat it. Default: what fits the answers.
    objects
        Objects for CHAIR, one a line, then synonyms. Default: the names of the boxes; of `scenes` its shapes.
    blind
        Also answer with every image replaced by mid-grey, as a control.
    relaxed
        Forgive a full stop at the end of an answer.
    max_new_tokens
        Longest answer. Default: 32, for descriptions 128.
    """
    from chiasm import api

    out = study.directory("eval" if task == "qa" else f"eval-{task}", model)
    view = place.load(model)
    run = api.evaluate(
        view,
        **study.arguments(),
        task=task,
        metric=metric,
        objects=objects,
        blind=blind,
        relaxed=relaxed,
        max_new_tokens=max_new_tokens,
        out=out,
    )
    measured = run.table("metrics")["metric"].unique(maintain_order=True).to_list()
    # Where something else fits the data better, accuracy stands among the measures only, with their intervals.
    first = measured[0] == "accuracy"
    if first:
        _aligned(_right(run, blind))
    if not first or set(measured) - {"accuracy", "exact_match"}:
        _aligned(_measures(run, blind))
    for failure in run.directory.failures()[:3]:
        print(f"failed: {failure['example_id']}: {failure['reason']}")
    print(f"Report: {run.path / 'report.html'}")


def _right(run: "Run", blind: bool) -> list[tuple[str, ...]]:
    """Right answers by type."""
    import polars as pl

    from chiasm.data.scoring import accuracy

    unseen = {}
    if blind:
        unseen = {a.type: a for a in accuracy(run.table("blind").select("type", "answer", "correct").iter_rows())}
    # Of the table, where questions on one image count together.
    measured = run.table("metrics").filter(pl.col("metric") == "accuracy", pl.col("shown") != "blank")
    bounds = {row["type"]: (row["low"], row["high"]) for row in measured.iter_rows(named=True)}
    shown = [("type", "n", "right", "95 % interval", "majority", "blind" if blind else "")]
    for found in accuracy(run.table("eval").select("type", "answer", "correct").iter_rows()):
        low, high = bounds[found.type]
        interval = "none" if low is None else f"{low:.1%} - {high:.1%}"
        other = f"{unseen[found.type].accuracy:.1%}" if blind else ""
        shown.append((found.type, str(found.n), f"{found.accuracy:.1%}", interval, f"{found.majority:.1%}", other))
    return shown


def _measures(run: "Run", blind: bool) -> list[tuple[str, ...]]:
    """The other measures, by type."""
    from chiasm.core.answer_metrics import ANSWER_METRICS

    rows = list(run.table("metrics").iter_rows(named=True))
    unseen = {(row["metric"], row["type"]): row["value"] for row in rows if row["shown"] == "blank"}
    shown = [("measure", "type", "n", "value", "95 % interval", "blind" if blind else "")]
    for row in rows:
        if row["shown"] == "image":
            written = ANSWER_METRICS[row["metric"]].format
            value = "-" if row["value"] is None else written(row["value"])
            interval = "-" if row["low"] is None else f"{written(row['low'])} - {written(row['high'])}"
            other = unseen.get((row["metric"], row["type"]))
            shown.append(
                (row["metric"], row["type"], str(row["n"]), value, interval, "" if other is None else written(other))
            )
    return shown


def _aligned(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]).rstrip())
    print()
