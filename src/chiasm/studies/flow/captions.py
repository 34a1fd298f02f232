"""Captions computed from the tables that the figures show: what is drawn, over how many examples, beside what."""

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from chiasm.interventions.states import ABLATE
from chiasm.results.charts.theme import counted
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.studies.flow.curves import ALL_CONTROLS
from chiasm.studies.flow.judgement import SEEN, control_for, control_label, style_of
from chiasm.studies.flow.tables import (
    AVERAGED,
    KEEP_ONE,
    LEAVE_ONE_OUT,
    SCALES,
    SHAPLEY,
    SIZE_MATCHED,
    SWAPS,
    dose_share,
)

_BAND = "Lines are geometric means over examples, bands 95 % intervals that hold for all layers of a line at once"
_CLAIMED = (
    "Lines are geometric means over examples; bands of cuts are the 95 % intervals of the findings, which hold for all "
    "cuts and layers at once, those of controls hold for all layers of a line"
)
_DOSED = "Lines are geometric means over examples, bands 95 % intervals that hold for all shares of a line at once"
_MEANS = "Lines are means over examples, bands 95 % intervals that hold for all of a line at once"
_FLOOR = "The grey band is the noise floor: what arithmetic alone changes"


def flow(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None,
    noise: float = 0.0,
    *,
    panels: Literal["type", "cut"] | None = None,
    claimed: bool = False,
) -> str:
    """For `flow_chart`, `types_chart` (`panels="type"`) and `controls_chart` (`panels="cut"`).

    `claimed`: bands of cuts are intervals of claims.
    """
    panel = {"type": " One panel for each question type.", "cut": " One panel for each cut, in colour."}
    sentences = [
        f"What is left of the target token's probability when {_changed(effects)} in {_windows(effects)}."
        f"{panel.get(panels or '', '')} "
        f"{_CLAIMED if claimed else _BAND} ({_examples(effects)}).",
        _controls(effects, controls) if panels != "cut" or controls is None else _every_control(controls),
    ]
    return " ".join([*sentences, *([f"{_FLOOR} (±{noise:.2g} nat)."] if noise > SEEN else [])])


def _changed(effects: pl.DataFrame) -> str:
    # Few values in many rows are read as categories (`of_effects`), which are no texts to polars.
    replaced = [str(cut).startswith(ABLATE) for cut in in_order(effects, "cut")]
    if not any(replaced):
        return "attention is cut"
    return "states are replaced" if all(replaced) else "attention is cut, or states are replaced,"


def _windows(rows: pl.DataFrame) -> str:
    match style_of(rows):
        case "prefix":
            return "all layers up to one, against that one"
        case "suffix":
            return "all layers from one on, against that one"
    width = int((rows["stop"] - rows["start"]).max() or 0)
    layers = "one layer" if width == 1 else f"{width} layers"
    return f"a window of {layers}, against the layer at the window's centre (windows are clipped at the ends)"


def tracking(answers: pl.DataFrame, control: bool = False, as_released: bool = False) -> str:
    """For `answer_tracking`."""
    how = "without the final norm, as released" if as_released else "through the final norm and the output head"
    beside = (
        "Dashed: the random-weights baseline."
        if control
        else "No control run stands beside it: what a model that cannot know would show is not drawn."
    )
    return (
        f"Probability of each written form at the last prompt position, every hidden state read {how}. {_MEANS} "
        f"({_examples(answers, 'form')}). {beside} A form is followed by its first token."
    )


def patches(methods: Sequence[Mapping[str, pl.DataFrame]], cropped: bool = False, some: str = "") -> str:
    """For `patch_maps`; `methods`: of every example. `cropped`: parts of an image are grey.

    `some`: how many of all maps these are, where they are chosen by strength.
    """
    first = next(iter(methods[0].values()))
    named = list(dict.fromkeys(name for one in methods for name in one))
    largest = "; ".join(
        f"{name} {_largest(pl.concat([one[name]['value'] for one in methods if name in one]))}" for name in named
    )
    what = ". ".join(_METHODS[name] for name in named if name in _METHODS)
    about = f"Example {first['example_id'][0]}" if len(methods) == 1 else f"{len(methods)} examples"
    order = "at even steps from the weakest to the strongest (largest value with one patch hidden)"
    chosen = f" These are {some} maps, {order}." if some else ""
    hidden = " Grey: cropped away by the processor, never seen by the model." if cropped else ""
    return (
        f"{about}: what each of {first.height} patches adds to the log-probability of the token that is followed. "
        f"{what}. n = 1 example: no interval; white is no effect, the largest values either way are {largest} nat "
        f"(above 0: it speaks for that token).{chosen}{hidden}"
    )


_METHODS = {
    LEAVE_ONE_OUT: "Leave-one-out: what is lost when the patch alone is hidden from the rows behind the image",
    KEEP_ONE: "Keep-one: what it brings when all other patches are hidden from them",
    SHAPLEY: "Shapley: the mean over random orders in which patches appear",
}


def _largest(values: pl.Series) -> str:
    """The value that is farthest from 0, with its sign."""
    return f"{float(values[values.abs().arg_max() or 0]):+.2g}"


def dose(effects: pl.DataFrame, controls: pl.DataFrame, cuts: Sequence[str] | None = None) -> str:
    """For `dose_curve` of `cuts`, of all that have doses by default."""
    doses = [name for name in in_order(controls, "control") if dose_share(name) is not None]
    dosed = controls.filter(pl.col("control").is_in(doses))
    left_out = ""
    if cuts is not None:
        without = [cut for cut in in_order(dosed, "cut") if cut not in cuts]
        dosed = dosed.filter(pl.col("cut").is_in(list(cuts)))
        left_out = f" Not drawn, since they change practically nothing: {', '.join(without)}." if without else ""
    return (
        "What is left of the probability when only a random share of a cut's own keys is cut, at the layer where the "
        f"whole cut costs most; 100 % is the cut itself. {_DOSED} ({_examples(dosed)}).{left_out}"
    )


def windows(effects: pl.DataFrame) -> str:
    """For `window_maps`."""
    return (
        "Mean change in the target token's log-probability for every contiguous window of layers "
        f"({_examples(effects)}). A dot marks windows whose 95 % interval, which holds for all windows at once, "
        "takes in zero; no control is drawn."
    )


def words(rows: pl.DataFrame) -> str:
    """For `caption_words`."""
    return (
        "Share of question positions whose most probable word, read from each hidden state, stands in a caption of the "
        f"image. {_MEANS} (n = {rows['example_id'].n_unique()}). State 0, before any layer, is the control: it has not "
        "seen the image."
    )


def _examples(rows: pl.DataFrame, line: str = "cut") -> str:
    return counted(rows.group_by(line).agg(pl.col("example_id").n_unique().alias("n"))["n"].to_list())


def _controls(effects: pl.DataFrame, controls: pl.DataFrame | None) -> str:
    if controls is None:
        return "No control was run: whether cutting anything else would do the same is not known."
    names = {cut: control_for(controls, cut) for cut in in_order(effects, "cut")}
    parts, sentences = [], []
    for name in dict.fromkeys(n for n in names.values() if n):
        cuts = [cut for cut, control in names.items() if control == name]
        beside = controls.filter((pl.col("control") == name) & pl.col("cut").is_in(cuts))
        parts.append(f"{control_label(name)} ({', '.join(cuts)}; {_examples(beside)})")
    if parts:
        sentences.append(f"Dashed: the strictest control that a cut has, {'; '.join(parts)}.")
        sentences += _elsewhere(controls, names)
    if SIZE_MATCHED in names.values():
        sentences.append("Random keys leave out the first position, the usual attention sink.")
    without = [cut for cut, name in names.items() if name is None]
    if without:
        sentences.append(f"Without a control, for want of as many other keys: {', '.join(without)}.")
    return " ".join(sentences)


def _elsewhere(controls: pl.DataFrame, drawn: Mapping[str, str | None]) -> list[str]:
    """Which controls were run and are not drawn here, and where they are. `drawn`: the control beside each cut."""
    beside = controls.select("cut", "control").unique(maintain_order=True).rows()
    more = [name for cut, name in beside if cut in drawn and name != drawn[cut] and dose_share(name) is None]
    if not more:
        return []
    # Controls that an effect has to exceed come first, then scales.
    ordered = sorted(dict.fromkeys(more), key=lambda name: (name in SCALES, name != RANDOM_WEIGHTS))
    named = "; ".join(map(control_label, ordered))
    return [f'Further controls ({named}) are in "{ALL_CONTROLS}".']


def _every_control(controls: pl.DataFrame) -> str:
    names = [name for name in in_order(controls, "control") if dose_share(name) is None and name not in SCALES]
    sentences = [f"Dashed: every control that was run ({', '.join(map(control_label, names))})."] if names else []
    sentences += [
        f"Level line in grey: {control_label(swap)}, a scale for the cuts of it, the same at every layer."
        for swap in SWAPS
        if swap in controls["control"]
    ]
    if AVERAGED in controls["control"]:
        sentences.append(
            "Keys averaged, in grey, is a scale too: nothing is blocked, but each key of the cut holds the mean state "
            "of all of them, so that only their places distinguish them."
        )
    return " ".join(sentences)
