"""Prints the tables of docs/causal.md from finished runs: `python docs/causal.py FLOW PATCH`.

FLOW is a run directory of `chiasm flow`, PATCH one of `chiasm patch` on the same scenes. The claims are made anew, by
`chiasm.claims`, of those examples that both runs followed, for all of them and for each question type alone. Every
number of a table is one of these claims; nothing is computed here but which of them is shown: of the layers in which a
method establishes anything the deepest, as that is the least that can be said of it; else that of the largest effect.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

import chiasm
from chiasm.core.claims import MIN_INPUTS

Claims = Mapping[str, pl.DataFrame]
"""The claims of a run by study."""


class Method(NamedTuple):
    """A row: its name, what it asks, and which claims answer it. `about`: how what they are about begins."""

    name: str
    asks: str
    study: str
    kind: str
    about: str


WHOLE = "image->between+question+suffix+last"
MEAN, RESAMPLE = "ablate:mean@image", "ablate:resample@image"
METHODS = (
    Method("knockout of the image", "is it needed that it is read?", "flow", "effect", WHOLE),
    Method("mean ablation of the image", "is what is its own needed?", "flow", "effect", MEAN),
    Method("resample ablation of the image", "is an unrelated image followed?", "flow", "effect", RESAMPLE),
    Method("patching the image, noise", "is a changed image followed?", "patch", "recovery", "image, noise"),
    Method("patching the image, denoise", "does the own image bring it back?", "patch", "recovery", "image, denoise"),
    Method(
        "knockout question->last", "is it needed that `last` reads the question?", "flow", "effect", "question->last"
    ),
    Method("patching `last`, noise", "is the changed answer at `last`?", "patch", "recovery", "last, noise"),
    Method("patching `last`, denoise", "is the own answer at `last`?", "patch", "recovery", "last, denoise"),
    Method("two routes kept", "are these two enough?", "flow", "sufficient", "only "),
    Method("routes found by search", "are these enough?", "flow", "sufficient", "the routes"),
)
CONTROLS = {
    "twin": "random weights",
    "blank": "blank image",
    "size-matched": "as many random positions",
    "same-answer": "donor of the same answer",
    "random-tokens": "as many random tokens",
    "shuffled-donor": "unrelated donor",
    "random": "as many random routes",
    "closed": "no route",
}


def main(arguments: Sequence[str]) -> None:
    """Print a table for all examples that both runs followed, one for each question type, and one of differences.

    Of a type with too few pairs to establish anything a table holds what the cuts say of all examples of the type.
    """
    flow, patch = (chiasm.open(name) for name in arguments)
    followed, paired = _followed(flow), _followed(patch)
    lines = []
    for name in ["all", *sorted(followed["type"].unique())]:
        own = followed if name == "all" else followed.filter(type=name)
        both = own.join(paired, on="example_id", how="semi")
        enough = both.height >= MIN_INPUTS
        chosen = (both if enough else own)["example_id"].sort().to_list()
        claims = {"flow": claims_of(flow, "flow", chosen)}
        if enough:
            claims["patch"] = claims_of(patch, "patch", chosen)
        print(f"\n### {name}, {len(chosen)} scenes ({both.height} of {own.height} have a pair)\n")
        print("\n".join(table(claims)))
        lines.append(f"| {name} | {' | '.join(differences(claims))} |")
    heads = ("", "mean less knockout", "resample less knockout", "two routes less untouched", "question->last: layers")
    print("\n".join(["", f"| {' | '.join(heads)} |", "|---|---|---|---|---|", *lines]))


def _followed(run: chiasm.Run) -> pl.DataFrame:
    return run.table("effects").unique("example_id").select("example_id", "type")


def claims_of(run: chiasm.Run, study: str, examples: Sequence[str]) -> pl.DataFrame:
    """The claims of a run from the rows of some examples alone, with their kind as a column."""
    tables = {}
    for name in run.tables:
        frame = run.table(name)
        if name != "claims":
            tables[name] = (
                frame.filter(pl.col("example_id").is_in(examples)) if "example_id" in frame.columns else frame
            )
    return chiasm.claims(study, tables).with_columns(kind=pl.col("claim").str.replace(r"-\d+$", ""))


def table(claims: Claims) -> list[str]:
    """The lines of one table: a row for each method that has a claim."""
    lines = ["| method | asks | layers | effect | nearest control | n | verdict |", "|---|---|---|---|---|---|---|"]
    for method in METHODS:
        if method.study in claims:
            of = claims[method.study].filter(pl.col("about").str.starts_with(method.about), kind=method.kind)
            if of.height:
                lines.append(_row(method, of))
    return lines


def _row(method: Method, of: pl.DataFrame) -> str:
    there = of.filter(verdict="established")
    one = there.row(-1, named=True) if there.height else of.sort(pl.col("effect").abs()).row(-1, named=True)
    if one["where"] == "all":
        layers, at = "all", ""
    else:
        nothing = _layers(of.filter(verdict="practically none"))
        layers = f"{_layers(there) or 'none'} established" + (f", {nothing} practically none" if nothing else "")
        at = f"layer {one['where']}: "
    control = "none"
    if one["control"] is not None:
        level = _value(one["control_effect"], None, None, one["unit"])
        control = f"{CONTROLS.get(one['control'], one['control'])}: {level}"
    value = _value(one["effect"], one["low"], one["high"], one["unit"])
    return f"| {method.name} | {method.asks} | {layers} | {at}{value} | {control} | {one['n']} | {one['verdict']} |"


def _layers(of: pl.DataFrame) -> str:
    """`0-1, 4` of the layers that the claims name; windows that are alike are one claim's name already."""
    runs: list[list[int]] = []
    for layer in of["where"].cast(pl.Int64).sort():
        if runs and runs[-1][-1] == layer - 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def differences(claims: Claims) -> list[str]:
    """What the methods differ by: both ablations less the knockout in the layer in which that does most, the answers
    that two routes lose, and how many layers patching `last` lies behind the cut question->last."""
    flow = claims["flow"]
    at = flow.filter(kind="effect", about=WHOLE).sort("effect")["where"][:1].to_list()
    found = [flow.filter(pl.col("where").is_in(at), kind="value-path", about=cut) for cut in (MEAN, RESAMPLE)]
    found.append(flow.filter(pl.col("about").str.starts_with("only "), kind="sufficient-lost"))
    agreement = claims["patch"].filter(kind="agreement-layer", about="question->last") if "patch" in claims else None
    return [_difference(of) for of in [*found, agreement]]


def _difference(of: pl.DataFrame | None) -> str:
    if of is None or not of.height:
        return "no pairs" if of is None else "not measured"
    one: dict[str, Any] = of.row(0, named=True)
    at = "" if one["where"] == "all" else f"layer {one['where']}: "
    return f"{at}{_value(one['effect'], one['low'], one['high'], one['unit'])}, {one['verdict']}"


def _value(effect: float, low: float | None, high: float | None, unit: str) -> str:
    scale, unit, digits = (100.0, "%", 0) if unit == "1" else (1.0, unit, {"%": 0, "layers": 0}.get(unit, 2))
    interval = (
        "" if low is None or high is None else f" ({_plain(low, scale, digits)} to {_plain(high, scale, digits)})"
    )
    return f"{_plain(effect, scale, digits)} {unit}{interval}"


def _plain(value: float, scale: float, digits: int) -> str:
    return f"{round(scale * value, digits) + 0.0:.{digits}f}"


if __name__ == "__main__":
    main(sys.argv[1:])
