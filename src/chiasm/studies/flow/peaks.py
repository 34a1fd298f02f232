"""Where a cut does most, and which cut does so first.

Clipped at the ends, windows around several layers can be one and the same: these layers are named together. Every
resample of whole inputs picks layers anew, so that their intervals allow for the picking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.claims import Claim
from chiasm.core.statistics.bands import ALPHA, RESAMPLES, cluster_codes, draws
from chiasm.studies.flow.sweep import Sweep

_OUTSIDE = 100 * ALPHA / 2, 100 * (1 - ALPHA / 2)


def peak(of_cut: Sequence[Claim]) -> Claim:
    """Where a cut does most: among its established layers if there are any, else uncontrolled ones, else all."""
    for verdict in ("established", "uncontrolled"):
        inside = [one for one in of_cut if one.verdict == verdict]
        if inside:
            return max(inside, key=lambda one: abs(one.effect))
    return max(of_cut, key=lambda one: abs(one.effect))


@dataclass(frozen=True, slots=True)
class _Windows:
    """The different windows of one cut: their columns in a sweep, and the layers around which they lie."""

    columns: list[int]
    first: Int[np.ndarray, " w"]
    last: Int[np.ndarray, " w"]

    @classmethod
    def of(cls, data: Sweep, cut: str) -> "_Windows | None":
        """None where several windows lie around one layer: then there is no order of layers."""
        layers: dict[tuple[int, int], list[int]] = {}
        columns: dict[tuple[int, int], int] = {}
        for k in data.of_cut(cut):
            _, layer, *window = data.columns[k]
            layers.setdefault((window[0], window[1]), []).append(layer)
            columns.setdefault((window[0], window[1]), k)
        every = [layer for around in layers.values() for layer in around]
        if len(set(every)) < len(every):
            return None
        first, last = (np.array([side(around) for around in layers.values()]) for side in (min, max))
        return cls(list(columns.values()), first, last)

    @property
    def middle(self) -> Float[np.ndarray, " w"]:
        return (self.first + self.last) / 2

    def at(self, layer: int) -> int:
        """The window around a layer."""
        return int(np.flatnonzero((self.first <= layer) & (layer <= self.last))[0])

    def name(self, w: int) -> str:
        first, last = self.first[w], self.last[w]
        return str(first) if first == last else f"{first}-{last}"


def peak_claims(data: Sweep, effects: Sequence[Claim], seed: int) -> list[Claim]:
    """Around which layers every cut that has an effect does most, and where its peak lies in 95 % of resamples.

    All of its layers are looked at, those without an established effect too.
    """
    found = []
    for cut, top in _peaks(effects).items():
        windows = _Windows.of(data, cut)
        if windows is None or not top.found:
            continue
        rows = np.flatnonzero(data.present[:, windows.columns].all(axis=1))
        if not len(rows):
            continue
        sign = np.sign(top.effect)
        drawn = _argmax(data, rows, {cut: windows}, sign, seed)[cut]
        means = data.values[rows][:, windows.columns].mean(axis=0)
        # Where several windows are as far, the one that is named as the peak of what is established.
        named = windows.at(int(top.where))
        own = named if sign * means[named] >= (sign * means).max() else int((sign * means).argmax())
        low = float(np.percentile(windows.first[drawn], _OUTSIDE[0], method="nearest"))
        high = float(np.percentile(windows.last[drawn], _OUTSIDE[1], method="nearest"))
        elsewhere = float((drawn != own).sum())
        p = (1 + elsewhere) / (1 + RESAMPLES)
        alone = windows.first[own] <= low and high <= windows.last[own] and p <= ALPHA
        found.append(
            Claim(
                kind="peak",
                about=cut,
                where=windows.name(own),
                quantity="layer where the change is largest",
                unit="layer",
                effect=float(windows.middle[own]),
                low=low,
                high=high,
                p=p,
                n=len(rows),
                inputs=len({data.inputs[i] for i in rows}),
                # No control stands beside a place.
                verdict="uncontrolled" if alone else "not established",
            )
        )
    return found


def order_claims(data: Sweep, effects: Sequence[Claim], seed: int) -> list[Claim]:
    """Which cut costs most at the earliest layer and which at the latest, with the interval of the difference.

    None where both do so in the same window.
    """
    costly = {cut: top for cut, top in _peaks(effects).items() if top.established and top.effect < 0}
    windows = {cut: one for cut in costly if (one := _Windows.of(data, cut)) is not None}
    if len(windows) < 2 or len(windows) < len(costly):
        return []
    own = {cut: one.at(int(costly[cut].where)) for cut, one in windows.items()}
    at = {cut: float(one.middle[own[cut]]) for cut, one in windows.items()}
    first, last = min(costly, key=at.__getitem__), max(costly, key=at.__getitem__)
    rows = np.flatnonzero(data.present[:, [k for one in windows.values() for k in one.columns]].all(axis=1))
    if at[first] == at[last] or not len(rows):
        return []
    deepest = {cut: windows[cut].middle[found] for cut, found in _argmax(data, rows, windows, -1.0, seed).items()}
    # A cut that lies with the first one is no earlier and no later: it says nothing of which comes first.
    earliest = np.min([deepest[cut] for cut in costly if at[cut] > at[first]], axis=0)
    latest = np.max([deepest[cut] for cut in costly if at[cut] < at[last]], axis=0)
    agree = float(min((deepest[first] < earliest).mean(), (deepest[last] > latest).mean()))
    low, high = (float(x) for x in np.percentile(deepest[last] - deepest[first], _OUTSIDE))
    p = min(1.0, 2 * (1 + (1 - agree) * RESAMPLES) / (1 + RESAMPLES))
    return [
        Claim(
            kind="order",
            about=f"{first} before {last}",
            where=" and ".join(windows[cut].name(own[cut]) for cut in (first, last)),
            quantity="difference between the layers where they cost most",
            unit="layers",
            effect=at[last] - at[first],
            low=low,
            high=high,
            p=p,
            control=last,
            control_effect=0.0,
            n=len(rows),
            inputs=len({data.inputs[i] for i in rows}),
            verdict="established" if p <= ALPHA and low > 0 else "not established",
        )
    ]


def _peaks(effects: Sequence[Claim]) -> dict[str, Claim]:
    cuts = dict.fromkeys(one.about for one in effects)
    return {cut: peak([one for one in effects if one.about == cut]) for cut in cuts}


def _argmax(
    data: Sweep, rows: Int[np.ndarray, " n"], windows: Mapping[str, _Windows], sign: float, seed: int
) -> dict[str, Int[np.ndarray, " r"]]:
    """Of every cut the window of the largest mean on the side of `sign`, in every resample of whole inputs.

    Resamples are drawn a few at a time: all of them would be 16 kB for each of the examples `rows`.
    """
    codes = cluster_codes([data.inputs[i] for i in rows], len(rows))
    codes = np.arange(len(rows)) if codes is None else codes
    values = {cut: data.values[rows][:, one.columns] for cut, one in windows.items()}
    found: dict[str, list[Int[np.ndarray, " r"]]] = {cut: [] for cut in windows}
    for drawn in draws(int(codes.max()) + 1, RESAMPLES, seed):
        weights = drawn if len(codes) == drawn.shape[1] and (codes == np.arange(len(codes))).all() else drawn[:, codes]
        for cut, own in values.items():
            found[cut].append(np.argmax(sign * (weights @ own), axis=1))
    return {cut: np.concatenate(parts) for cut, parts in found.items()}
