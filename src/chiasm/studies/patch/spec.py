"""What an activation-patching run was asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from chiasm.core.errors import ChiasmError, require_one_of
from chiasm.core.options import Section, option
from chiasm.core.spans import require_known
from chiasm.interventions import Site, Window, centred
from chiasm.studies.options import ControlledSpec, ExecutorName, memory_option, random_models_option
from chiasm.studies.patch.tables import SMALLEST, SMALLEST_GAP

SPANS: Final = ("image", "image.object", "question", "last")
SITES: Final[tuple[Site, ...]] = ("residual", "attention", "mlp")

Direction = Literal["both", "denoise", "noise"]
PairsFrom = Literal["auto", "data", "minimal", "rule"]
Keep = Literal["correct", "all"]


@dataclass(frozen=True, kw_only=True)
class PatchSpec(ControlledSpec):
    """Which states carry the answer?

    Two runs that differ in the image are computed together, and at one layer a part of one is given the states of the
    other: how much of the answer comes with them? Writes tables, figures and report.html.

    The embedded model, on scenes that differ in one attribute of one object:

        chiasm patch tiny

    Your model, your data (a field `pair` names the other example; without it the same question with another answer):

        chiasm patch llava-hf/llava-1.5-7b-hf --data my.jsonl

    What attention and MLP add, in windows of three layers; single image tokens, drawn over the first four images:

        chiasm patch tiny --site attention --site mlp --window 3 --tokens 4

    Spans: as of `chiasm flow`. Source: Meng et al. 2022 (arXiv 2202.05262), section 2; Zhang & Nanda 2024 (arXiv
    2309.16042) on directions and measures. Assumption: a state put into another run means there what it meant in its
    own; the page of a run says what speaks for and against it.
    """

    auto_batch_size: ClassVar[int] = 4

    controls: bool = option(
        True,
        "Donors of the same answer, random tokens, unrelated donors and random weights beside every curve.",
        common=True,
    )
    spans: Sequence[str] = option(
        SPANS,
        "Span whose states are replaced, or a union a+b; repeat it. Default: image, image.object (where there are "
        "boxes), question, last.",
        common=True,
    )
    sites: Sequence[str] = option(
        ("residual",),
        "What is replaced: residual (a layer's input), attention or mlp (what that branch adds); repeat it. Default: "
        "residual.",
        common=True,
    )
    window: int = option(1, "Layers per window: in all of them the states are replaced.", at_least=1, common=True)
    direction: Direction = option(
        "both",
        "denoise (the donor's run is given the example's states: does its answer come back?), noise (the example's run "
        "is given the donor's: is its answer lost?), or both, for the price of one.",
        common=True,
    )
    pairs: PairsFrom = option(
        "auto",
        "Where donors are from: data (the field `pair`), minimal (scenes with one attribute changed), rule (the same "
        "question with another answer, or asked of another example's image). Default: the field where there is one; "
        "of `scenes` minimal; else rule.",
        common=True,
    )
    keep: Keep = option(
        "correct", "Only pairs of which the model answers both examples correctly, or all.", common=True
    )
    knockouts: bool = option(True, "Attention knockouts of the same examples, to compare layers with.")
    tokens: int = option(
        0,
        "For the first so many examples, every image token patched on its own in every layer.",
        at_least=0,
        common=True,
    )
    patch_size: int | None = option(
        1, "Image tokens per side that are patched together there. In Python, None: 150 parts at most.", at_least=1
    )
    screen: int = option(
        0,
        "For the first so many examples, what the gradient says of every token, site and layer (attribution patching: "
        "one backward pass in each direction), with 24 exact patches in each to see how far it is right.",
        at_least=0,
        common=True,
    )
    random_models: int = random_models_option(5, "share the examples")
    smallest_effect: float = option(
        SMALLEST, "Smallest share of the gap worth naming, in points.", at_least=0, below=100
    )
    smallest_gap: float = option(
        SMALLEST_GAP,
        "Of a smaller gap (nat) no share is taken: it would be divided by next to nothing.",
        at_least=0.001,
    )
    memory: int | str | None = memory_option()
    executor: ExecutorName = option(
        "lockstep",
        "All patches in one walk down the layers, or one full pass per patch (slow, the yardstick).",
        section=Section.COMPUTE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in (("--span", self.spans), ("--site", self.sites)):
            if not values:
                raise ChiasmError("patching without a span or site", f"{name} names none", f"Name one with {name}")
            repeated = sorted({one for one in values if list(values).count(one) > 1})
            if repeated:
                raise ChiasmError(f"these {name}", f"`{repeated[0]}` is given twice", "Give every one once")
        for span in self.spans:
            require_known(f"--span {span}", span)
        for site in self.sites:
            require_one_of(f"--site {site}", site, SITES)

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions to run."""
        return ("denoise", "noise") if self.direction == "both" else (self.direction,)

    def windows_of(self, layers: int) -> tuple[Window, ...]:
        """The windows over a decoder of `layers` layers."""
        return centred(layers, self.window)
