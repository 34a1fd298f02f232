"""What differs between runs, in words: what was asked otherwise, and what was measured otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from chiasm.results.diff.differences import strongest_first, unit_of_difference
from chiasm.results.wording import bounds, listed, number, probability

_MAIN: Final = 3
_LONGEST: Final = 60
# Facts that no option says, and the options that they follow from.
_FACTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "model weights": ("the weights of the model", ("model",)),
    "data hash": ("the examples", ("data", "seed", "split", "limit", "ids")),
    "baseline weights": ("the weights of the random model", ("baseline", "model")),
    "precision": ("the arithmetic", ()),
    "chiasm": ("the version of chiasm", ()),
}


def as_text(value: Any) -> str:
    """The value of an option in words."""
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def design(differing: Mapping[str, Sequence[Any]]) -> str:
    """What differs by design, in a sentence. `differing`: values in the order of the runs, by the name of the option.

    What follows from something else that differs (the weights from the model) is not repeated.
    """
    parts = []
    for name, values in differing.items():
        title, causes = _FACTS.get(name, (name.replace("_", " "), ()))
        if not any(cause in differing for cause in causes):
            texts = [as_text(value) for value in values]
            short = name not in _FACTS or not causes
            shown = f" ({listed(texts)})" if short and sum(map(len, texts)) <= _LONGEST else ""
            parts.append(f"{title}{shown}")
    if not parts:
        return "By design nothing differs: the same options, model and data."
    return f"By design the runs differ in {listed(parts)}."


def in_short(rows: pl.DataFrame, first: str) -> str:
    """One run beside the first, in a sentence."""
    run, held = rows["run"][0], strongest_first(rows.filter(verdict="established"))
    if not held.height:
        alike = (rows["verdict"] == "practically none").all()
        return f"No difference between {run} and {first} is established{': all are practically none' if alike else ''}."
    most = held.row(0, named=True)
    less = number(most["difference"], unit=unit_of_difference(most["unit"]), signed=True, significant=3)
    return (
        f"In {held.height} of {rows.height} places {run} differs from {first}{_also_beyond(held)}, most surely in "
        f"{_place(most)}: {less}."
    )


def sentences(rows: pl.DataFrame, first: str) -> list[str]:
    """The largest established differences of one run from the first, or what else its rows allow to say."""
    held = strongest_first(rows.filter(verdict="established"))
    run, kind = rows["run"][0], "the same examples" if rows["paired"][0] else "other examples"
    if not held.height:
        alike = rows.filter(verdict="practically none").height
        return [
            f"No difference between {run} and {first} is established, in {rows.height} compared on {kind}; "
            f"{alike} of them are practically none."
        ]
    parts = []
    for row in held.head(_MAIN).iter_rows(named=True):
        how = {"significant": 3, "signed": True}
        unit = "" if row["unit"] == "1" else row["unit"]
        there, here = (number(row[side], unit=unit, significant=3) for side in ("second", "first"))
        less = number(row["difference"], unit=unit_of_difference(unit), **how)
        parts.append(
            f"{_place(row)}: {row['quantity']}, {there} in {run} and {here} in {first}: a difference of {less} "
            f"(95 % interval {bounds(row['low'], row['high'], **how)}, {probability(row['p'])}, n = {row['n']}, on "
            f"{kind}){_beyond(row)}."
        )
    more = held.height - len(parts)
    return (
        [*parts, f"{more} more of {rows.height} differences from {first} are established in {run}."] if more else parts
    )


def beyond_in_short(row: Mapping[str, Any]) -> str:
    """A difference beyond its control: value, interval and verdict; empty where there is none."""
    if row["beyond"] is None:
        return ""
    how = {"significant": 3, "signed": True}
    less = number(row["beyond"], unit=unit_of_difference(row["unit"]), **how)
    return f"{less} ({bounds(row['beyond_low'], row['beyond_high'], **how)}), {row['beyond_verdict']}"


def _place(row: Mapping[str, Any]) -> str:
    where = "" if row["where"] == "all" else f" at layer {row['where']}"
    return f"{row['about'].replace('->', ' → ')}{where}"


def _also_beyond(held: pl.DataFrame) -> str:
    """In how many of the places the difference is established beyond its control as well; empty where none has one."""
    known = held.drop_nulls("beyond")
    if not known.height:
        return ""
    count = known.filter(beyond_verdict="established").height
    of = "" if known.height == held.height else f" of the {known.height} that have one"
    return (
        f" ({count or 'none'}{of} of them beyond the control as well)"
        if not of
        else f" ({count}{of} beyond the control)"
    )


def _beyond(row: Mapping[str, Any]) -> str:
    """The same beyond the control, as it goes on in a sentence."""
    if row["beyond"] is None:
        return ""
    if row["beyond_verdict"] == "practically none":
        held = "practically nothing is left"
    else:
        held = f"{beyond_in_short(row).rpartition(', ')[0]} is left, {row['beyond_verdict']}"
    return f"; less what the control shows in both ({row['control']}), {held}"
