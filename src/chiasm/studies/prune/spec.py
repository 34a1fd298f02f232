"""What a pruning run was asked to do, and the masks that this means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Section, example_option, option, write_option
from chiasm.interventions.masks import (
    ABLATIONS,
    COMBINED,
    RELEASED_INTERSECTION,
    UNSTRUCTURED,
    MaskMethod,
    MaskPart,
    MaskSpec,
    blocks,
    require_sparsity,
)
from chiasm.studies.options import ControlledSpec, Data, data_option, loss_option, memory_option
from chiasm.studies.prune.tables import (
    DENSE,
    IMAGE_TOKENS,
    MODALITIES,
    POOLED,
    SMALLEST,
    TEXT_TOKENS,
    TYPES,
    UNCALIBRATED,
)

DEFAULT_SPARSITIES: Final = (0.3, 0.5, 0.7)
VARIANTS: Final[tuple[MaskMethod, ...]] = ("wanda-centred", "wanda-cumulative")
CONTROLS: Final[tuple[MaskMethod, ...]] = ("magnitude", "magnitude-row", "random")

ExportMask = Literal[
    "wanda",
    "wanda-centred",
    "wanda-cumulative",
    "intersection",
    "majority",
    "mean-score",
    "magnitude",
    "magnitude-row",
]
"""The masks that a checkpoint may be written with: neither drawn at random nor made to be compared."""


@dataclass(frozen=True, kw_only=True)
class PruneSpec(ControlledSpec):
    """Which weights can be left out, at what loss, and does one mask serve all tasks?

    Wanda masks on the decoder's linear layers, calibrated on all questions, on each type, on image tokens and on text
    tokens; common masks combined from them; magnitude and random masks beside them. Scores and perplexity before and
    after, on examples that no mask has seen. At the end the model's weights are as they were before.

    The embedded model, on the embedded world:

        chiasm prune tiny

    Your model at one sparsity, and the result as a checkpoint that plain transformers loads:

        chiasm prune llava-hf/llava-1.5-7b-hf --data my.jsonl --sparsity 0.5 --export pruned/

    The pattern that sparse tensor cores run, feed-forward and attention separately:

        chiasm prune tiny --pattern 2:4 --part ffn --part attention

    Sources: Sun et al. 2024 (Wanda, arXiv 2306.11695); Shukor & Cord 2024 (arXiv 2405.16700). The masks are those of
    the decoder's linear layers alone.
    """

    controls: bool = option(True, "Magnitude and random masks, and the random-weights baseline.", common=True)
    auto_batch_size: ClassVar[int] = 16

    max_loss: float | str = loss_option()
    smallest_effect: float = option(
        SMALLEST,
        "Smallest difference of right answers worth naming, in points; of what a mask loses it is --max-loss.",
        above=0,
        below=100,
    )
    sparsities: Sequence[float] = option(
        (),
        "Share of zeroed weights per output row; repeat it. Default: 0.3, 0.5 and 0.7.",
        common=True,
        formerly=("sparsity",),
    )
    patterns: Sequence[str] = option(
        (UNSTRUCTURED,),
        "`unstructured`, or N:M (N of every M consecutive inputs are zeroed), which has its own sparsity.",
        common=True,
        formerly=("pattern",),
    )
    parts: Sequence[MaskPart] = option(
        ("all",),
        "All matrices, only feed-forward, or only attention; repeat it to compare. Masks are combined for the first.",
        common=True,
        formerly=("part",),
    )
    combine: bool = option(True, "Also masks by question type and by modality, and their combinations.", common=True)
    as_released: bool = option(
        False,
        "Also the combined mask as the released code of the alpha-SubNet builds it: the weights that the masks of all "
        "types keep, so that more are zeroed than the sparsity says.",
    )
    ablate: float | None = option(
        None,
        "Also zero this share of the weights, as 0.015, where the masks of image and of text tokens (at the first "
        "sparsity from 0.5 on, else the last) agree, and where they do not, beside as many at random.",
        above=0,
        below=1,
    )
    max_new_tokens: int | None = option(
        None, "Longest answer. Default: a little more than the longest label; what goes on longer is wrong.", at_least=1
    )
    calibrate_on: Data | None = data_option(
        "Examples to calibrate on. Default: the other split of `scenes`, else a part of the data, not evaluated.",
        section=Section.EXAMPLES,
    )
    calibration: int = example_option(128, "Calibration examples, for all types together and for each.", at_least=1)
    tokens: int | None = example_option(
        None, "Calibration tokens of every mask. Default: as many as the smallest set has.", at_least=1
    )
    memory: int | str | None = memory_option(
        "Bytes for the hidden states of calibration examples, as 500MB. Default: no bound."
    )
    export: str | Path | None = write_option(
        None, "New folder for the pruned model. Needs one sparsity or pattern, and one part.", typed_as=Path | None
    )
    export_mask: ExportMask = write_option("wanda", "Mask of the exported model.", common=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, given in (("sparsity", self.sparsities), ("pattern", self.patterns), ("part", self.parts)):
            if len(set(given)) < len(given):
                raise ChiasmError(f"--{name}", "one value is given twice", "Give every value once")
        if not self.patterns or not self.parts:
            raise ChiasmError("a run without patterns or parts", "there is nothing to prune", "Name one of each")
        shaped = [pattern for pattern in self.patterns if blocks(pattern) is not None]
        if self.sparsities and len(shaped) == len(self.patterns):
            found = f"the patterns {', '.join(shaped)} have their own"
            raise ChiasmError("--sparsity", found, f"Leave it out, or add --pattern {UNSTRUCTURED}")
        for sparsity, _ in self.levels():
            require_sparsity(sparsity)
        if self.as_released and not self.combine:
            raise ChiasmError("--as-released", "it combines the masks of question types", "Leave out --no-combine")
        if self.ablate is not None and (not self.combine or UNSTRUCTURED not in self.patterns):
            todo = f"Leave out --no-combine, and name the pattern {UNSTRUCTURED}"
            raise ChiasmError(f"--ablate {self.ablate:g}", "it needs unstructured masks by modality", todo)
        if self.export is not None:
            self._require_exportable(Path(self.export))

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    def levels(self) -> tuple[tuple[float, str], ...]:
        """(sparsity, pattern) pairs, in the order asked."""
        found: list[tuple[float, str]] = []
        for pattern in self.patterns:
            zeroed = blocks(pattern)
            if zeroed is None:
                found += [(sparsity, pattern) for sparsity in self.sparsities or DEFAULT_SPARSITIES]
            else:
                found.append((zeroed[0] / zeroed[1], pattern))
        return tuple(found)

    def _require_exportable(self, folder: Path) -> None:
        """What cannot be exported is refused before the run, not behind it."""
        asked = f"export to `{folder}`"
        if len(self.levels()) > 1 or len(self.parts) > 1:
            found = f"the run has {len(self.levels())} sparsities and {len(self.parts)} parts"
            raise ChiasmError(asked, found, "Name one, as --sparsity 0.5")
        # Two types of any name: how many there are does not change which masks combine them.
        made = {one.spec.method for one in planned_masks(self, ("one", "other")) if one.spec is not None}
        made -= set(ABLATIONS)
        if self.export_mask not in made:
            method = self.export_mask
            lacking = "combinations" if method in COMBINED else "controls" if method in CONTROLS else "such masks"
            found = f"this run makes no `{method}`: it has no {lacking} ({', '.join(sorted(made))})"
            raise ChiasmError(asked, found, "Name one of those, or let the run make it")


class PlannedMask(NamedTuple):
    """A mask to be made and evaluated. `spec` None is the dense model; `calibration` names what it was made on."""

    spec: MaskSpec | None
    calibration: str

    @property
    def columns(self) -> dict[str, str | float]:
        """What identifies the mask in tables."""
        if self.spec is None:
            return {"mask": DENSE, "calibration": self.calibration, "sparsity": 0.0, "pattern": "none", "part": "none"}
        shape = {"sparsity": self.spec.sparsity, "pattern": self.spec.pattern, "part": self.spec.part}
        return {"mask": self.spec.method, "calibration": self.calibration, **shape}


def planned_masks(spec: PruneSpec, types: Sequence[str], modalities: bool = True) -> tuple[PlannedMask, ...]:
    """The dense model first, then every mask of the run, level by level. `types`: those there are to calibrate on."""
    found = [PlannedMask(None, UNCALIBRATED)]
    for level in spec.levels():
        for part in spec.parts:
            found.append(_mask(spec, level, part, "wanda", (POOLED,)))
            shaped = level[1] != UNSTRUCTURED
            found += [_mask(spec, level, part, m, (POOLED,)) for m in (VARIANTS[:1] if shaped else VARIANTS)]
            if spec.controls:
                found += [_mask(spec, level, part, method) for method in CONTROLS]
        first = spec.parts[0]
        if spec.combine and modalities:
            both = (IMAGE_TOKENS, TEXT_TOKENS)
            found += [_mask(spec, level, first, "wanda", (name,)) for name in both]
            found.append(_mask(spec, level, first, "intersection", both, MODALITIES))
        if spec.combine and len(types) > 1:
            found += [_mask(spec, level, first, "wanda", (name,)) for name in types]
            combined = (*COMBINED, RELEASED_INTERSECTION) if spec.as_released else COMBINED
            found += [_mask(spec, level, first, method, tuple(types), TYPES) for method in combined]
    if spec.ablate is not None and modalities:
        levels = [sparsity for sparsity, pattern in spec.levels() if pattern == UNSTRUCTURED]
        within = next((sparsity for sparsity in levels if sparsity >= 0.5), levels[-1])
        level, both = (spec.ablate, UNSTRUCTURED), (IMAGE_TOKENS, TEXT_TOKENS)
        found += [_mask(spec, level, spec.parts[0], name, both, MODALITIES, within) for name in ABLATIONS]
    return tuple(found)


def masks_for_baseline(spec: PruneSpec) -> tuple[PlannedMask, ...]:
    """The masks of the model with random weights: enough to show what numbers mean where nothing is known."""
    every = planned_masks(spec, (), modalities=False)
    return tuple(one for one in every if one.spec is None or one.spec.method in ("wanda", "random"))


def _mask(
    spec: PruneSpec,
    level: tuple[float, str],
    part: MaskPart,
    method: MaskMethod,
    calibrations: tuple[str, ...] = (),
    named: str = "",
    within: float = 0.0,
) -> PlannedMask:
    shape = {"sparsity": level[0], "pattern": level[1], "part": part, "within": within}
    mask = MaskSpec(method=method, calibrations=calibrations, seed=spec.seed, **shape)
    return PlannedMask(mask, named or (calibrations[0] if calibrations else UNCALIBRATED))
