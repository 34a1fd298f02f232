"""What probes read of the model's states: behind the projector by setting, by hidden state, and against drift."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.results.charts.dots import dots_chart
from chiasm.results.charts.lines import Axes, Chart, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import Size, counted
from chiasm.results.series import Curve, in_order
from chiasm.studies.project.charts import UNIT, counts, dot, over, setting_mark
from chiasm.studies.project.choice import named
from chiasm.studies.project.findings import unusable
from chiasm.studies.project.levels import claimed
from chiasm.studies.project.scores import LINE, UNTUNED, ProbeAnswers, ProbeSite
from chiasm.studies.project.tables import OWN, RANDOM_PROJECTOR, SHUFFLED

_TITLES = {LINE: "linear", "mlp-paper": "MLP, paper", "mlp-code": "MLP, code"}
_SPANS = {"image": "mean image token", "last": "last prompt token"}
_ROLE = "shuffled labels"


def richness_chart(probed: pl.DataFrame, size: Size) -> Chart:
    """Macro-F1 of every probe on the projector's output by setting, below what goes into it, above two controls."""
    own = probed.filter(projector=OWN)
    probes = in_order(own, "probe")
    places = [("tower's summary (cls)", UNTUNED, CLS, None), ("before the projector (pre)", UNTUNED, PRE, None)]
    places += [(f"behind it: {name}", name, POST, None) for name in in_order(own, "setting")]
    places.append(("weights permuted (control)", UNTUNED, POST, RANDOM_PROJECTOR))
    places.append(("shuffled labels (control)", UNTUNED, POST, SHUFFLED))
    marks = {(probe, False): Mark(_TITLES[probe], style) for style, probe in enumerate(probes)}
    marks |= {(probe, True): Mark(f"{_TITLES[probe]}, control", k, control=True) for k, probe in enumerate(probes)}
    dots = []
    for title, setting, where, control in places:
        for domain in in_order(own, "domain"):
            of = ProbeAnswers.of(probed, domain)
            for probe in probes:
                score = of.score(ProbeSite(setting, where, probe, control))
                if score is not None:
                    dots.append(dot(title, score, marks[probe, control is not None].label, domain))
    there = {one.mark for one in dots}
    return dots_chart(
        dots,
        [Scale(UNIT, domain, limits=(0, 1)) for domain in in_order(own, "domain")],
        [mark for mark in marks.values() if mark.label in there],
        size,
        title="Does tuning make the projector's output richer?",
        subtitle=f"Dots: probes; {over(own)}; {counted([one.n for one in dots if one.n is not None])}.",
    )


def richness_caption(probed: pl.DataFrame) -> str:
    """For `richness_chart`."""
    return (
        "Macro-F1 on test images of each probe on the mean image token behind the projector after tuning in each "
        "setting (zero-shot: untouched), beside what goes into it, and beside two controls of the untouched model "
        f"({counts(probed.filter(projector=OWN))}). MLPs are narrower than published where the decoder is."
    )


def layers_chart(probed: pl.DataFrame, size: Size) -> Chart:
    """Macro-F1 of a linear probe by hidden state, on the mean image token and on the last prompt token.

    Dashed: the untouched model, or the first setting there is, with labels shuffled before the probe learnt.
    """
    own = probed.filter(projector=OWN, probe=LINE)
    settings = in_order(own, "setting")
    shuffled = UNTUNED if UNTUNED in settings else settings[0]
    lines = []
    for domain in in_order(own, "domain"):
        of = ProbeAnswers.of(own, domain)
        for span, words in _SPANS.items():
            panel = f"{domain}, {words}"
            for setting in settings:
                curve = _by_state(of, setting, span)
                if curve is not None:
                    lines.append(Line(setting, curve, setting_mark(setting).style or 0, panel=panel))
            chance = _by_state(of, shuffled, span, SHUFFLED)
            if chance is not None:
                lines.append(Line(shuffled, chance, setting_mark(shuffled).style or 0, _ROLE, panel))
    subtitle = f"Linear probes; {over(own)}; {counted([line.curve.n for line in lines])}."
    return line_chart(
        lines,
        Axes("Hidden state", UNIT, limits=(0, 1)),
        size,
        title="At which states can the class be read?",
        subtitle=subtitle,
        columns=2,
        legend="setting",
    )


def layers_caption(probed: pl.DataFrame) -> str:
    """For `layers_chart`."""
    own = probed.filter(projector=OWN, probe=LINE)
    return (
        f"Macro-F1 on test images of a linear probe ({counts(own)}) on the mean image token and on the last prompt "
        "token at every hidden state: 0 is what enters the decoder, K what leaves block K - 1. Dashed: untouched, with "
        "probes that have learned shuffled labels. Each interval holds on its own; differences with intervals for all "
        "at once are in the claims."
    )


def _by_state(of: ProbeAnswers, setting: str, span: str, control: str | None = None) -> Curve | None:
    """What a linear probe reads at every hidden state, with intervals over images and seeds."""
    scored = [(k, of.score(ProbeSite(setting, f"layer.{k}.{span}", LINE, control))) for k in of.states]
    found = [(float(state), score) for state, score in scored if score is not None]
    if not found:
        return None
    values = [[state, float(s.mean), float(s.low), float(s.high)] for state, s in found]
    return Curve(*np.array(values).T, n=found[0][1].n)


def drift_chart(tuning: pl.DataFrame, probed: pl.DataFrame, size: Size, *, claims: Sequence[Claim] = ()) -> Chart:
    """Change in what probes read of the projector's output, against how far tuning moved the projector's weights.

    With `claims`: theirs, with their intervals; none where the interval is all that a change can be.
    """
    own = tuning.filter(projector=OWN)
    probes = [name for name in in_order(probed, "probe") if not claims or _changes(claims, name)]
    settings = [name for name in in_order(own, "setting") if name != UNTUNED]
    points, planes = [], []
    for domain in in_order(own, "domain"):
        of = ProbeAnswers.of(probed, domain)
        for probe in probes:
            panel = f"{domain}, {_TITLES[probe]} probe"
            found = []
            for setting in settings:
                drift = own.filter(domain=domain, setting=setting)["projector_drift"].mean()
                point = _drifted(of, claims, domain, setting, probe, panel)
                if point is not None and drift is not None:
                    found.append(replace(point, x=float(drift)))
            points += found
            least = min((point.x for point in found if point.x > 0), default=1e-3)
            # Linear below the least that moved, so that what was not moved has a place.
            x = Scale("Weights moved, share of their size", kind="symlog", constant=least)
            planes.append(Plane(panel, x, Scale("Change in macro-F1", reference=0.0)))
    return points_chart(
        points,
        planes,
        [setting_mark(name) for name in settings],
        size,
        title="Does what probes read change with how far the projector moved?",
        subtitle=f"Against the untouched projector, paired; {over(own)}; {counted([p.n for p in points if p.n])}.",
        things="setting",
    )


def _drifted(
    of: ProbeAnswers, claims: Sequence[Claim], domain: str, setting: str, probe: str, panel: str
) -> Point | None:
    """The change under one setting, not yet placed by its drift."""
    one, gap = named(claims, "richness", domain, setting, probe), claimed(claims, "richness", domain, setting, probe)
    if not claims:
        gap = of.gap(ProbeSite(setting, POST, probe), ProbeSite(UNTUNED, POST, probe))
    if gap is None:
        return None
    bare = one is not None and unusable(one)
    low, high = (math.nan, math.nan) if bare else (float(gap.low), float(gap.high))
    n = gap.n if one is None else one.inputs or one.n
    return Point(setting, 0.0, float(gap.mean), y_low=low, y_high=high, n=n, mark=setting, panel=panel)


def drift_caption(probed: pl.DataFrame) -> str:
    """For `drift_chart`."""
    return (
        "How what probes read of the projector's output changed, against ||after - before|| / ||before|| of its "
        f"weights ({counts(probed.filter(projector=OWN))}); means over seeds. Intervals hold for all changes shown; "
        "without one: the seeds give none that is usable."
    )


def _changes(claims: Sequence[Claim], probe: str) -> bool:
    return any(one.about.endswith(f", {probe}") for one in of_kind(claims, "richness"))
