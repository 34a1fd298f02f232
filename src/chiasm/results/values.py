"""The values by example that the claims of one kind are means of: what two runs are compared by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

SHARED_MODELS = (
    "a few models with random weights share the examples, and intervals over inputs do not hold over one more model"
)
"""Why the control with random weights is not taken off."""


@dataclass(frozen=True, slots=True)
class ControlValues:
    """The same values of a control, for the same examples and columns. `present`: which examples have it."""

    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]


@dataclass(frozen=True, slots=True)
class ExampleValues:
    """One value per example and column; a column is what a claim of one of `kinds` is about, and where.

    `present`: which examples have it. `quantity`, `unit`: those of the claims. `smallest`: the smallest difference
    worth naming, in `unit`. `error`: a standard error below it counts as so much. `right`: values are 0 or 100, as
    right and wrong answers, whose differences have intervals of their own. `depth`: how many layers the model has,
    where columns are by layer. `controls`: by their names in words, those
    that can be taken off example by example; `other_controls`: those that cannot, and why.
    """

    kinds: tuple[str, ...]
    quantity: str
    unit: str
    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]
    smallest: float
    error: float
    right: bool = False
    depth: int | None = None
    controls: Mapping[str, ControlValues] = field(default_factory=dict)
    other_controls: Mapping[str, str] = field(default_factory=dict)

    def of(
        self, columns: Sequence[tuple[str, str]], examples: Sequence[str] | None = None, *, beyond: str | None = None
    ) -> tuple[Float[np.ndarray, "n k"], Bool[np.ndarray, "n k"]]:
        """Values and presence in some columns, of some examples or all, in the order given.

        `beyond`: the control that is taken off in each example; what lacks it is not present.
        """
        place = {example: row for row, example in enumerate(self.examples)}
        rows = [place[example] for example in (self.examples if examples is None else examples)]
        at = np.ix_(rows, [self.columns.index(column) for column in columns])
        if beyond is None:
            return self.values[at], self.present[at]
        control = self.controls[beyond]
        return (self.values - control.values)[at], (self.present & control.present)[at]

    def at_layers(self, names: Mapping[str, str]) -> "ExampleValues":
        """The columns whose layer has a name, by that name; the others are left out."""
        chosen = [k for k, (_, where) in enumerate(self.columns) if where in names]
        of = {
            name: ControlValues(control.values[:, chosen], control.present[:, chosen])
            for name, control in self.controls.items()
        }
        columns = tuple((self.columns[k][0], names[self.columns[k][1]]) for k in chosen)
        return replace(
            self, columns=columns, values=self.values[:, chosen], present=self.present[:, chosen], controls=of
        )

    def inputs_of(self, examples: Sequence[str]) -> list[str]:
        """The inputs of some examples."""
        known = dict(zip(self.examples, self.inputs, strict=True))
        return [known[example] for example in examples]


def aligned(values: "ExampleValues", other: "ExampleValues") -> ControlValues:
    """`other`, measured of a control, in the examples and columns of `values`."""
    rows = {example: i for i, example in enumerate(other.examples)}
    places = {column: k for k, column in enumerate(other.columns)}
    mine = [(i, rows[example]) for i, example in enumerate(values.examples) if example in rows]
    own = [(k, places[column]) for k, column in enumerate(values.columns) if column in places]
    found = ControlValues(np.zeros_like(values.values), np.zeros_like(values.present))
    if mine and own:
        to = np.ix_([i for i, _ in mine], [k for k, _ in own])
        at = np.ix_([i for _, i in mine], [k for _, k in own])
        found.values[to], found.present[to] = other.values[at], other.present[at]
    return found


def grid(
    rows: pl.DataFrame,
) -> tuple[
    tuple[str, ...],
    tuple[str, ...],
    tuple[tuple[str, str], ...],
    Float[np.ndarray, "n k"],
    Bool[np.ndarray, "n k"],
]:
    """Examples, inputs, columns, values and presence of `ExampleValues`, from rows of `example_id, about, where, value`
    and `input`, where it was recorded. Several values of one example and column are averaged.
    """
    inputs = pl.coalesce("input", "example_id") if "input" in rows.columns else pl.col("example_id")
    who = rows.select("example_id", of=inputs).unique("example_id").sort("example_id")
    columns = rows.select("about", "where").unique(maintain_order=True).rows()
    place = {column: k for k, column in enumerate(columns)}
    row = {example: i for i, example in enumerate(who["example_id"])}
    values = np.zeros((len(row), len(place)))
    present = np.zeros(values.shape, dtype=bool)
    means = rows.group_by("example_id", "about", "where").agg(pl.col("value").mean())
    for example, about, where, value in means.select("example_id", "about", "where", "value").iter_rows():
        values[row[example], place[about, where]], present[row[example], place[about, where]] = value, True
    return tuple(row), tuple(who["of"]), tuple((about, str(where)) for about, where in columns), values, present
