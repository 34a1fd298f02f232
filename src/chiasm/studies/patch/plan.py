"""The variants of one pair with their controls, and which rows of which table each of them becomes."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import EmptySpanError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions import AttentionKnockout, BlockedAttention, Patch, Site, Variant, Window
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.parts import LayerKind
from chiasm.studies.flow.coalitions import super_patches
from chiasm.studies.patch.pairs import MINIMAL
from chiasm.studies.patch.positions import Correspondence
from chiasm.studies.patch.spec import PatchSpec
from chiasm.studies.patch.tables import CUTS, DENOISE, NOISE, RANDOM_TOKENS, SAME_ANSWER, SHUFFLED


class EncodedPair(NamedTuple):
    """Both runs of a pair and those that stand in as controls; `how`: where the donor is from."""

    own: Encoded
    donor: Encoded
    how: str
    like_own: Encoded | None = None
    like_donor: Encoded | None = None
    unrelated: Encoded | None = None


class Planned(NamedTuple):
    """One variant and the columns that its row has besides what comes out. `table`: "" for a no-op."""

    variant: Variant
    table: str
    window: Window
    columns: dict[str, Any]


class Side(NamedTuple):
    """One of the two runs of a pair, with all that is done to it; what comes out is scored for both answers."""

    encoded: Encoded
    donors: tuple[Encoded, ...]
    planned: tuple[Planned, ...]

    def job(self, tokens: tuple[int, int]) -> Job:
        """What the executor is given. `tokens`: the first of the own answer, and of the donor's."""
        last = int(self.encoded.spans.require("last")[-1])
        readout = Readout((last, last), tokens)
        return Job(self.encoded, tuple(one.variant for one in self.planned), readout, donors=self.donors)


class SampledPatch(NamedTuple):
    """One token patched alone at one layer: its positions in both runs."""

    site: Site
    layer: int
    own: int
    donor: int


class PairPlan(NamedTuple):
    """The two runs: the example's own, which is given the donor's states (noise), and the donor's, which is given the
    example's (denoise); a side without variants has only its clean run."""

    own: Side
    donor: Side
    skipped: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> tuple[tuple[str, ...], ...]:
        """Plans of one kind have the same sequence of patches and controls, so that they fit into one batch."""
        sides = (self.own, self.donor)
        # Single tokens are as many as images have; one name for all of them.
        alone = ("tokens", "sampled")
        named = [[p.table if p.table in alone else f"{p.table} {p.variant.name}" for p in s.planned] for s in sides]
        return tuple(tuple(dict.fromkeys(names)) for names in named)


def clean_plan(pair: EncodedPair) -> PairPlan:
    """Both runs of a pair with nothing done to them."""
    return PairPlan(Side(pair.own, (), ()), Side(pair.donor, (), ()), ())


class _Placed(NamedTuple):
    """A span in both runs."""

    name: str
    own: tuple[int, ...]
    donor: tuple[int, ...]


def plan(
    spec: PatchSpec,
    kinds: Sequence[LayerKind],
    index: int,
    example: Example,
    pair: EncodedPair,
    *,
    half: bool,
    sampled: Mapping[str, Sequence[SampledPatch]] | None = None,
) -> PairPlan:
    """What is run for a pair, that of the `index`-th example.

    `kinds`: of the decoder's layers. `half`: the model computes in half precision, so that no-ops are needed.
    `sampled`: by direction the single tokens that are patched to check the gradient.

    **Errors:** `ExampleError` if no span of the two runs corresponds.
    """
    skipped: list[tuple[str, str]] = []
    spans = list(_placed(spec, example, pair, skipped))
    if not spans:
        raise ExampleError("; ".join(dict.fromkeys(reason for _, reason in skipped)) or "no span was named")
    windows = spec.windows_of(len(kinds))
    sides = []
    for direction in (NOISE, DENOISE):
        recipient, giver = (pair.own, pair.donor) if direction == NOISE else (pair.donor, pair.own)
        same = pair.like_own if direction == NOISE else pair.like_donor
        donors = [giver, *(one for one in (same, pair.unrelated) if one is not None)]
        planned: list[Planned] = []
        if direction in spec.directions:
            recipes = _Recipes(spec, example, pair, direction, recipient, tuple(donors), same)
            # Variants at one place of several lists are computed as one group: what some pairs lack comes last.
            planned += [one for placed in spans for one in recipes.patches(placed, windows)]
            if index < spec.tokens:
                planned += recipes.tokens(len(kinds), skipped)
            planned += recipes.sampled(sampled.get(direction, ()) if sampled else ())
            if spec.controls:
                for control in (SHUFFLED, RANDOM_TOKENS, SAME_ANSWER):
                    planned += [one for placed in spans for one in recipes.control(control, placed, windows, skipped)]
        if half:
            last = tuple(int(p) for p in recipient.spans.require("last"))
            planned.append(Planned(Variant("no-op", (BlockedAttention(windows[0], last, ()),)), "", windows[0], {}))
        if direction == NOISE and spec.knockouts:
            planned += _knockouts(recipient, windows, kinds, example, skipped)
        sides.append(Side(recipient, tuple(donors) if direction in spec.directions else (), tuple(planned)))
    return PairPlan(sides[0], sides[1], tuple(dict.fromkeys(skipped)))


def _placed(spec: PatchSpec, example: Example, pair: EncodedPair, skipped: list[tuple[str, str]]) -> Iterator[_Placed]:
    """The spans that both runs have, position by position."""
    between, back = Correspondence(pair.own, pair.donor), Correspondence(pair.donor, pair.own)
    for span in spec.spans:
        try:
            positions = pair.own.spans[span]
            if pair.how == MINIMAL and span == "image.object":
                # The object may have moved: where it is in either.
                theirs = pair.donor.spans[span]
                positions = np.union1d(positions, back.at(theirs, span)[1] if len(theirs) else positions[:0])
                positions = positions.astype(np.int64)
            if not len(positions):
                raise EmptySpanError(f"span `{span}` is empty in this example")
            yield _Placed(span, *between.at(positions, span))
        except EmptySpanError as error:
            if span != "image.object" or example.boxes:
                skipped.append((example.id, str(error)))
        except ExampleError as error:
            skipped.append((example.id, str(error)))


class _Recipes(NamedTuple):
    """The patches of one direction. `recipient`: the run that is given states; `donors`: the other run of the pair, and
    those of controls; `same`: the one among them that has the recipient's answer."""

    spec: PatchSpec
    example: Example
    pair: EncodedPair
    direction: str
    recipient: Encoded
    donors: tuple[Encoded, ...]
    same: Encoded | None

    def patches(self, placed: _Placed, windows: Sequence[Window]) -> Iterator[Planned]:
        """The patch of one span at every site and window."""
        yield from self._at(placed, windows, "", 0, *self._sides(placed.own, placed.donor))

    def control(
        self, name: str, placed: _Placed, windows: Sequence[Window], skipped: list[tuple[str, str]]
    ) -> Iterator[Planned]:
        """The same of a control; nothing where it cannot be made."""
        if name == RANDOM_TOKENS:
            drawn = self._random(placed)
            if drawn is not None:
                yield from self._at(placed, windows, name, 0, *self._sides(*drawn))
            return
        donor = self.same if name == SAME_ANSWER else self.pair.unrelated
        if donor is None:
            return
        rows = np.array(self._sides(placed.own, placed.donor)[0])
        try:
            into, of = Correspondence(self.recipient, donor).at(rows, placed.name)
        except ExampleError as error:
            skipped.append((self.example.id, f"{name}: {error}"))
            return
        yield from self._at(placed, windows, name, self.donors.index(donor), into, of)

    def tokens(self, layers: int, skipped: list[tuple[str, str]]) -> Iterator[Planned]:
        """Every patch of the image on its own, at the input of every layer."""
        between = Correspondence(self.pair.own, self.pair.donor)
        for part in super_patches(self.pair.own.layouts, self.spec.patch_size):
            try:
                into, of = self._sides(*between.at(np.array(part.positions), "single tokens"))
            except ExampleError as error:
                skipped.append((self.example.id, str(error)))
                return
            for layer in range(layers):
                window = Window(layer, layer + 1, layer)
                variant = Variant(f"{self.direction} patch {part.number}", (Patch(window, "residual", into, of),))
                yield Planned(variant, "tokens", window, {**part.columns, "direction": self.direction})

    def sampled(self, chosen: Sequence[SampledPatch]) -> Iterator[Planned]:
        """Single tokens at single layers."""
        for one in chosen:
            window = Window(one.layer, one.layer + 1, one.layer)
            patch = Patch(window, one.site, *self._sides((one.own,), (one.donor,)))
            columns = {"site": one.site, "direction": self.direction, "position": one.own}
            yield Planned(Variant(f"{self.direction} {one.site} {one.own}", (patch,)), "sampled", window, columns)

    def _at(
        self,
        placed: _Placed,
        windows: Sequence[Window],
        control: str,
        donor: int,
        into: tuple[int, ...],
        of: tuple[int, ...],
    ) -> Iterator[Planned]:
        table = "controls" if control else "effects"
        for name in self.spec.sites:
            site: Site = name  # type: ignore[assignment]  # the spec has checked it
            columns = {"site": site, "span": placed.name, "direction": self.direction}
            columns |= {"control": control, "sample": 0} if control else {}
            called = f"{self.direction} {site} {placed.name} {control}".strip()
            for window in windows:
                yield Planned(Variant(called, (Patch(window, site, into, of, donor),)), table, window, columns)

    def _sides(self, own: tuple[int, ...], donor: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions that are given states, and those that give them."""
        return (own, donor) if self.direction == NOISE else (donor, own)

    def _random(self, placed: _Placed) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """As many other positions that can differ: from the first that is perceived on, without the span and `last`.

        None where there are fewer. Drawn by (seed, example, span), the same in both directions.
        """
        between = Correspondence(self.pair.own, self.pair.donor)
        perceived = self.pair.own.spans.perceptual
        first = int(perceived[0]) if len(perceived) else 0
        known = between.known(np.setdiff1d(np.arange(first, self.pair.own.length - 1), np.array(placed.own)))
        if len(known[0]) < len(placed.own):
            return None
        key = [self.spec.seed, zlib.crc32(self.example.id.encode()), zlib.crc32(placed.name.encode())]
        chosen = np.sort(np.random.default_rng(key).choice(len(known[0]), len(placed.own), replace=False))
        own, donor = (tuple(int(p) for p in side[chosen]) for side in known)
        return own, donor


def _knockouts(
    encoded: Encoded,
    windows: Sequence[Window],
    kinds: Sequence[LayerKind],
    example: Example,
    skipped: list[tuple[str, str]],
) -> Iterator[Planned]:
    """The cuts of the same example, in the windows in which anything attends."""
    for text in CUTS:
        source = text.partition("->")[0]
        sense = next((name for name in ("image", "video", "audio") if len(encoded.spans.get(name, ()))), "image")
        cut = text.replace("image", sense) if source == "image" else text
        try:
            for window in windows:
                if "attention" in kinds[window.start : window.stop]:
                    change = AttentionKnockout.parse(cut).on(encoded.spans, window)
                    yield Planned(Variant(cut, (change,)), "knockouts", window, {"cut": cut})
        except EmptySpanError as error:
            skipped.append((example.id, f"{cut}: {error}"))
