"""The examples of a flow run one by one: what each cut costs them layer by layer, and their maps of patches."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.charts.theme import PALETTE, arrow, cut_style
from chiasm.results.examples import Against, Answered, Browsed, PatchMap, Series, ShownExample, first_shown
from chiasm.results.series import in_order
from chiasm.studies.flow.tables import SMALLEST

_METHODS: Final = {
    "leave-one-out": "each patch hidden alone",
    "keep-one": "each patch kept alone",
    "shapley": "patches hidden in random orders",
}
_CORNERS: Final = ("x0", "y0", "x1", "y1")


def browsed(
    effects: pl.DataFrame,
    examples: pl.DataFrame,
    *,
    kept: str,
    followed: pl.DataFrame | None = None,
    values: pl.DataFrame | None = None,
    patches: pl.DataFrame | None = None,
    found: Claim | None = None,
    least: float = SMALLEST,
) -> Browsed:
    """`effects`: one window for each cut and layer. `kept`: which examples were followed (`correct`, or all).

    `followed`: what the model said. `values`, `patches`: its maps and where their patches lie. `found`: the effect that
    examples may contradict, by showing less than `least` (nat) of it.
    """
    cuts, layers = in_order(effects, "cut"), sorted(effects["layer"].unique())
    effects, total = first_shown(effects)
    curves = _curves(effects, layers)
    said = {} if followed is None else {row["example_id"]: row for row in followed.iter_rows(named=True)}
    maps = _maps(values, patches)
    shown = []
    for row in examples.iter_rows(named=True):
        name = row["example_id"]
        if name not in curves:
            continue
        shown.append(
            ShownExample(
                name,
                row["type"],
                row["question"],
                row["answer"],
                _answers(row["answer"], kept, said.get(name)),
                curves=curves[name],
                maps=maps.get(name, ()),
            )
        )
    series = tuple(Series(cut, arrow(cut), PALETTE[cut_style(cut) % len(PALETTE)]) for cut in cuts)
    return Browsed(
        shown,
        "largest change",
        "nat",
        layers,
        ("Layer (centre of the window cut)", "Change of the log-probability (nat)"),
        series,
        "Change of the answer's log-probability by each patch (nat)",
        against=None if found is None else _against(found, least),
        total=total,
    )


def _against(found: Claim, least: float) -> Against | None:
    if not found.established or not found.where.isdecimal():
        return None
    return Against(found.about, int(found.where), 1 if found.effect > 0 else -1, least)


def _answers(label: str, kept: str, said: Mapping[str, str | bool] | None) -> tuple[Answered, ...]:
    if said is not None:
        return (Answered("the model", str(said["text"]), bool(said["right"])),)
    # Runs of before this table was kept: where right answers alone were followed, the label is what was said.
    return (Answered("the model", label, True),) if kept == "correct" else ()


def _curves(effects: pl.DataFrame, layers: list[int]) -> dict[str, dict[str, list[float | None]]]:
    rows = effects.select("example_id", "cut", "layer", change=pl.col("logprob_cut") - pl.col("logprob_clean"))
    wide = rows.pivot(on="layer", index=["example_id", "cut"], values="change", aggregate_function="first")
    names = [str(layer) for layer in layers]
    found: dict[str, dict[str, list[float | None]]] = {}
    for example, cut, *values in wide.select("example_id", "cut", *names).iter_rows():
        found.setdefault(example, {})[cut] = values
    return found


def _maps(values: pl.DataFrame | None, patches: pl.DataFrame | None) -> dict[str, tuple[PatchMap, ...]]:
    if values is None or patches is None:
        return {}
    placed = values.join(patches.select("example_id", "patch", *_CORNERS), on=["example_id", "patch"])
    found: dict[str, list[PatchMap]] = {}
    own = placed.drop_nulls([*_CORNERS, "value"])
    for (example, method), rows in own.group_by(["example_id", "method"], maintain_order=True):
        choice = (_METHODS.get(str(method), str(method)),)
        found.setdefault(str(example), []).append(
            PatchMap(choice, rows.select(_CORNERS).rows(), rows["value"].to_list())
        )
    return {example: tuple(maps) for example, maps in found.items()}
