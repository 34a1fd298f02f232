"""What an information-flow run was asked to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.spans import PERCEPTUAL
from chiasm.interventions import (
    Ablation,
    Cut,
    Window,
    all_windows,
    centred,
    is_ablation,
    prefixes,
    suffixes,
)
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION

PAPER_CUTS: Final = (
    "question->last",
    "image->last",
    "last->last",
    "image->question",
    "image.object->question",
    "image.other->question",
)
"""The six published pairs (Zhang et al. 2025, README of the released code)."""

_OTHER_CUTS: Final = ("question->last", "{0}->last", "last->last", "{0}->question")

WindowStyle = Literal["centred", "all", "prefix", "suffix"]
Keep = Literal["correct", "all"]
Target = Literal["first", "answer"]
Route = Cut | Ablation


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """One run of `chiasm flow`. Equal specs ask for equal tables.

    `cuts`: `SOURCE->TARGET` or `zero:COMPONENT@SPAN`. `window`: layers per window (style `centred`). `keep`: `correct`
    leaves out examples that the model answers wrongly. `target`: `first` follows the first token of the clean greedy
    answer, `answer` the labelled answer, teacher-forced. `draws`: random draws per control. `patches`, `words`: for
    how many of the first examples patches are cut one by one, and words decoded at the question. `patch_size`: patches
    per side of a super-patch (None: at most 150 of them per image). `twin`: the model that is the control with random
    weights. `unit`: examples computed together.
    """

    model: str
    data: str
    cuts: tuple[str, ...] = PAPER_CUTS
    window: int = 9
    windows: WindowStyle = "centred"
    limit: int | None = None
    split: str = "heldout"
    keep: Keep = "correct"
    target: Target = "first"
    instruction: str = DEFAULT_INSTRUCTION
    controls: bool = True
    twin: str | None = None
    draws: int = 1
    patches: int = 0
    patch_size: int | None = None
    words: int = 0
    seed: int = 0
    unit: int = 8
    executor: str = "lockstep"

    def __post_init__(self) -> None:
        if not self.cuts:
            raise ChiasmError("a run without cuts", "there is nothing to measure", f"Name one, as `{PAPER_CUTS[0]}`")
        repeated = sorted({cut for cut in self.cuts if self.cuts.count(cut) > 1})
        if repeated:
            raise ChiasmError("these cuts", f"`{repeated[0]}` is given twice", "Give every cut once")
        for name, value, least in (
            ("window", self.window, 1),
            ("draws", self.draws, 1),
            ("patches", self.patches, 0),
            ("patch-size", 1 if self.patch_size is None else self.patch_size, 1),
            ("words", self.words, 0),
            ("batch-size", self.unit, 1),
        ):
            if value < least:
                raise ChiasmError(f"--{name} {value}", f"the least is {least}", "Give a larger number")
        for name, given, known in (
            ("keep", self.keep, get_args(Keep)),
            ("target", self.target, get_args(Target)),
            ("windows", self.windows, get_args(WindowStyle)),
        ):
            if given not in known:
                raise ChiasmError(f"--{name} {given}", f"there are {', '.join(known)}", "Name one of those")
        for text in self.cuts:
            parse_route(text)

    def routes(self) -> tuple[Route, ...]:
        """The cuts and ablations, parsed."""
        return tuple(parse_route(text) for text in self.cuts)

    def windows_of(self, layers: int) -> tuple[Window, ...]:
        """The windows over a decoder of `layers` layers."""
        match self.windows:
            case "centred":
                return centred(layers, self.window)
            case "all":
                return all_windows(layers)
            case "prefix":
                return prefixes(layers)
            case "suffix":
                return suffixes(layers)


def default_cuts(kinds: Iterable[str]) -> tuple[str, ...]:
    """The published pairs for what examples show or play; objects have places in images alone."""
    given = set(kinds)
    senses = [kind for kind in PERCEPTUAL if kind in given]
    found = [PAPER_CUTS if kind == "image" else tuple(cut.format(kind) for cut in _OTHER_CUTS) for kind in senses]
    return tuple(dict.fromkeys(cut for cuts in found for cut in cuts)) or PAPER_CUTS


def parse_route(text: str) -> Route:
    """A cut `SOURCE->TARGET` or an ablation `zero:COMPONENT@SPAN`.

    **Errors:** `ChiasmError` for any other text.
    """
    return Ablation.parse(text) if is_ablation(text) else Cut.parse(text)
