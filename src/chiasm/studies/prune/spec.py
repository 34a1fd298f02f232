"""What a pruning run was asked to do, and the masks that this means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import (
    ABLATIONS,
    COMBINED,
    UNSTRUCTURED,
    MaskMethod,
    MaskPart,
    MaskSpec,
    blocks,
    require_sparsity,
)
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.studies.prune.tables import (
    DENSE,
    IMAGE_TOKENS,
    MODALITIES,
    POOLED,
    TEXT_TOKENS,
    TYPES,
    UNCALIBRATED,
)

DEFAULT_SPARSITIES: Final = (0.3, 0.5, 0.7)
VARIANTS: Final[tuple[MaskMethod, ...]] = ("wanda-centred", "wanda-cumulative")
BASELINES: Final[tuple[MaskMethod, ...]] = ("magnitude", "magnitude-row", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSpec:
    """One run of `chiasm prune`. Equal specs ask for equal tables.

    `sparsity`: shares of zeroed weights per output row (default 0.3, 0.5, 0.7 where `pattern` has `unstructured`);
    `pattern`: `unstructured` or `N:M`, which has its own sparsity. `part`: `all`, `ffn`, `attention`; the combinations
    are made for the first one. `calibrate_on`: data of the calibration examples (default: `scenes` of the other split,
    else examples kept out of the evaluation). `calibration`: examples of the pooled set and of every type. `tokens`:
    calibration tokens of every mask (default: as many as the smallest set has). `combine`: also masks by question type
    and by modality, and their combinations. `ablate`: also zero this share of all weights, drawn from what the masks of
    image tokens and of text tokens (at the first sparsity from 0.5 on, else the last) both keep, or only one of them
    keeps, and at random. `twin`: model with random weights. `max_new_tokens`: longest answer
    (default: four tokens more than the longest label computed with it; what goes on longer is wrong). `unit`: examples
    computed together.
    """

    model: str
    data: str
    limit: int | None = None
    split: str = "heldout"
    sparsity: tuple[float, ...] = ()
    pattern: tuple[str, ...] = (UNSTRUCTURED,)
    part: tuple[MaskPart, ...] = ("all",)
    calibrate_on: str | None = None
    calibration: int = 128
    tokens: int | None = None
    combine: bool = True
    ablate: float | None = None
    controls: bool = True
    twin: str | None = None
    instruction: str = DEFAULT_INSTRUCTION
    max_new_tokens: int | None = None
    seed: int = 0
    unit: int = 16

    def __post_init__(self) -> None:
        for name, value in (
            ("calibration", self.calibration),
            ("max-new-tokens", 1 if self.max_new_tokens is None else self.max_new_tokens),
            ("batch-size", self.unit),
        ):
            if value < 1:
                raise ChiasmError(f"--{name} {value}", "the least is 1", "Give a larger number")
        for name, given in (("sparsity", self.sparsity), ("pattern", self.pattern), ("part", self.part)):
            if len(set(given)) < len(given):
                raise ChiasmError(f"--{name}", "one value is given twice", "Give every value once")
        if not self.pattern or not self.part:
            raise ChiasmError("a run without patterns or parts", "there is nothing to prune", "Name one of each")
        wrong = [part for part in self.part if part not in get_args(MaskPart)]
        if wrong:
            raise ChiasmError(f"--part {wrong[0]}", f"there are {', '.join(get_args(Part))}", "Name one of those")
        shaped = [pattern for pattern in self.pattern if blocks(pattern) is not None]
        if self.sparsity and len(shaped) == len(self.pattern):
            found = f"the patterns {', '.join(shaped)} have their own"
            raise ChiasmError("--sparsity", found, f"Leave it out, or add --pattern {UNSTRUCTURED}")
        for sparsity, _ in self.levels():
            require_sparsity(sparsity)
        if self.ablate is not None:
            require_sparsity(self.ablate)
            if not self.combine or UNSTRUCTURED not in self.pattern:
                raise ChiasmError(
                    f"--ablate {self.ablate:g}",
                    "it needs unstructured masks by modality",
                    f"Leave out --no-combine, and name the pattern {UNSTRUCTURED}",
                )

    def levels(self) -> tuple[tuple[float, str], ...]:
        """(sparsity, pattern) pairs, in the order asked."""
        found: list[tuple[float, str]] = []
        for pattern in self.pattern:
            zeroed = blocks(pattern)
            if zeroed is None:
                found += [(sparsity, pattern) for sparsity in self.sparsity or DEFAULT_SPARSITIES]
            else:
                found.append((zeroed[0] / zeroed[1], pattern))
        return tuple(found)


class Planned(NamedTuple):
    """A mask to be made and evaluated. `spec` None is the dense model; `calibration` names what it was made on."""

    spec: MaskSpec | None
    calibration: str

    @property
    def columns(self) -> dict[str, str | float]:
        """What identifies the mask in tables."""
        if self.spec is None:
            return {"mask": DENSE, "calibration": self.calibration, "sparsity": 0.0, "pattern": "none", "part": "none"}
        return {
            "mask": self.spec.method,
            "calibration": self.calibration,
            "sparsity": self.spec.sparsity,
            "pattern": self.spec.pattern,
            "part": self.spec.part,
        }


def planned(spec: PruneSpec, types: Sequence[str], modalities: bool = True) -> tuple[Planned, ...]:
    """The dense model first, then every mask of the run, level by level. `types`: those there are to calibrate on."""
    found = [Planned(None, UNCALIBRATED)]
    for level in spec.levels():
        for part in spec.part:
            found.append(_mask(spec, level, part, "wanda", (POOLED,)))
            shaped = level[1] != UNSTRUCTURED
            found += [_mask(spec, level, part, m, (POOLED,)) for m in (VARIANTS[:1] if shaped else VARIANTS)]
            if spec.controls:
                found += [_mask(spec, level, part, method) for method in BASELINES]
        first = spec.part[0]
        if spec.combine and modalities:
            both = (IMAGE_TOKENS, TEXT_TOKENS)
            found += [_mask(spec, level, first, "wanda", (name,)) for name in both]
            found.append(_mask(spec, level, first, "intersection", both, MODALITIES))
        if spec.combine and len(types) > 1:
            found += [_mask(spec, level, first, "wanda", (name,)) for name in types]
            found += [_mask(spec, level, first, method, tuple(types), TYPES) for method in COMBINED]
    if spec.ablate is not None and modalities:
        levels = [sparsity for sparsity, pattern in spec.levels() if pattern == UNSTRUCTURED]
        within = next((sparsity for sparsity in levels if sparsity >= 0.5), levels[-1])
        for method in ABLATIONS:
            mask = MaskSpec(
                method=method,
                sparsity=spec.ablate,
                part=spec.part[0],
                calibrations=(IMAGE_TOKENS, TEXT_TOKENS),
                seed=spec.seed,
                within=within,
            )
            found.append(Planned(mask, MODALITIES))
    return tuple(found)


def planned_for_twin(spec: PruneSpec) -> tuple[Planned, ...]:
    """What the twin with random weights is asked: enough to show what numbers mean where nothing is known."""
    every = planned(spec, (), modalities=False)
    return tuple(one for one in every if one.spec is None or one.spec.method in ("wanda", "random"))


def _mask(
    spec: PruneSpec,
    level: tuple[float, str],
    part: MaskPart,
    method: MaskMethod,
    calibrations: tuple[str, ...] = (),
    named: str = "",
) -> Planned:
    mask = MaskSpec(
        method=method,
        sparsity=level[0],
        pattern=level[1],
        part=part,
        calibrations=calibrations,
        seed=spec.seed,
    )
    return Planned(mask, named or (calibrations[0] if calibrations else UNCALIBRATED))
