"""`chiasm eval`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.options import Model, Place, Study


def evaluate(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    blind: Annotated[bool, Parameter(negative="")] = False,
    relaxed: Annotated[bool, Parameter(negative="")] = False,
    max_new_tokens: int = 32,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """How many questions does the model answer, by type, and how many without seeing the image?

    Greedy answers, right when equal to the label (stripped, case ignored).

        chiasm eval tiny --blind
        chiasm eval llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 200

    Parameters
    ----------
    blind
        Also answer with every image replaced by mid-grey, as a control.
    relaxed
        Forgive a full stop at the end of an answer.
    max_new_tokens
        Longest answer.
    """
    from chiasm import api
    from chiasm.data.scoring import accuracy

    out = study.directory("eval", model)
    view = place.load(model)
    run = api.evaluate(
        view,
        **study.arguments(),
        blind=blind,
        relaxed=relaxed,
        max_new_tokens=max_new_tokens,
        out=out,
    )
    unseen = {}
    if blind:
        unseen = {a.type: a for a in accuracy(run.table("blind").select("type", "answer", "correct").iter_rows())}
    shown = [("type", "n", "right", "95 % interval", "majority", "blind" if blind else "")]
    for found in accuracy(run.table("eval").select("type", "answer", "correct").iter_rows()):
        interval = f"{found.low:.1%} - {found.high:.1%}"
        other = f"{unseen[found.type].accuracy:.1%}" if blind else ""
        shown.append((found.type, str(found.n), f"{found.accuracy:.1%}", interval, f"{found.majority:.1%}", other))
    widths = [max(len(row[k]) for row in shown) for k in range(len(shown[0]))]
    for row in shown:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]).rstrip())
    for failure in run.directory.failures()[:3]:
        print(f"failed: {failure['example_id']}: {failure['reason']}")
    print(f"Report: {run.path / 'report.html'}")
