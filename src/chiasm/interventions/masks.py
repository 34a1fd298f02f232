"""Masks on weights: which method leaves which share of the weights out, as a frozen value."""

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from chiasm.core.errors import ChiasmError, require_one_of

MaskPart = Literal["all", "ffn", "attention"]
MaskMethod = Literal[
    "wanda",
    "wanda-cumulative",
    "wanda-centred",
    "magnitude",
    "magnitude-row",
    "random",
    "intersection",
    "majority",
    "mean-score",
    "intersection-released",
    "ablate-common",
    "ablate-first",
    "ablate-second",
    "ablate-random",
]
UNSTRUCTURED = "unstructured"
CALIBRATED = ("wanda", "wanda-cumulative", "wanda-centred")
COMBINED = ("intersection", "majority", "mean-score")
RELEASED_INTERSECTION = "intersection-released"
ABLATIONS = ("ablate-common", "ablate-first", "ablate-second", "ablate-random")


def blocks(pattern: str) -> tuple[int, int] | None:
    """`N:M` as (N, M): N of every M consecutive inputs are zeroed; None for `unstructured`.

    Source: Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), section 3.

    **Errors:** `ChiasmError` for anything else.
    """
    if pattern == UNSTRUCTURED:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    if not match or not 0 < int(match[1]) < int(match[2]):
        found = f"it is neither `{UNSTRUCTURED}` nor N:M with 0 < N < M"
        raise ChiasmError(f"the pattern `{pattern}`", found, "Write for example 2:4, which zeroes 2 of every 4 inputs")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSpec:
    """Which share of the decoder's linear weights is zeroed, and by which method.

    `wanda` needs the name of one calibration; `intersection`, `majority` and `mean-score` combine two or more (the
    alpha-SubNet of Shukor & Cord 2024); `magnitude` ranks within a whole matrix, `magnitude-row` and all others
    within an output row; `intersection-released` keeps what the Wanda masks of all calibrations at `sparsity` keep, as
    the released code of the alpha-SubNet does, so that more is zeroed than `sparsity` says; `random` draws from `seed`
    alone. Under `N:M` every method ranks within M consecutive inputs of a row and `sparsity` is N / M.
    `wanda-cumulative` zeroes, in every row, the lowest scores up to one share of the row's sum, the same for a whole
    matrix (a variant in the code of Sun et al.); `wanda-centred` takes the norm of inputs about their mean. The
    ablations zero few weights, `sparsity` of all: drawn from those that the Wanda masks of
    two calibrations at the sparsity `within` both keep, that only the first or only the second keeps, or at random.
    `part`: only feed-forward or only attention matrices, or both.

    **Errors:** `ChiasmError` for a sparsity that leaves everything or nothing, a pattern of another sparsity, or
    calibrations that the method does not take.
    """

    method: MaskMethod
    sparsity: float
    pattern: str = UNSTRUCTURED
    part: MaskPart = "all"
    calibrations: tuple[str, ...] = ()
    seed: int = 0
    within: float = 0.0

    def __post_init__(self) -> None:
        require_sparsity(self.sparsity)
        require_one_of(f"the method `{self.method}`", self.method, get_args(MaskMethod))
        require_one_of(f"the part `{self.part}`", self.part, get_args(MaskPart))
        zeroed = blocks(self.pattern)
        if zeroed and not math.isclose(self.sparsity, zeroed[0] / zeroed[1]):
            raise ChiasmError(
                f"sparsity {self.sparsity:g} in the pattern {self.pattern}",
                f"the pattern zeroes {zeroed[0] / zeroed[1]:g} of the weights",
                "Leave the sparsity to the pattern",
            )
        if zeroed and (self.method == "wanda-cumulative" or self.method in ABLATIONS):
            raise ChiasmError(
                f"`{self.method}` in the pattern {self.pattern}", "it zeroes no N of M", f"Use {UNSTRUCTURED}"
            )
        if (self.method in ABLATIONS) != bool(self.within):
            raise ChiasmError(f"`{self.method}` within {self.within:g}", "only ablations have it", "Give it to those")
        if self.within:
            require_sparsity(self.within)
        count = len(self.calibrations)
        fits = count == 1 if self.method in CALIBRATED else not count
        several = (*COMBINED, RELEASED_INTERSECTION)
        fits = count > 1 if self.method in several else count == 2 if self.method in ABLATIONS else fits
        if not fits:
            raise ChiasmError(
                f"a mask by `{self.method}`",
                f"{count} calibrations were named",
                "Name one for wanda, two or more for a combination, two for an ablation, none for any other",
            )


def require_sparsity(sparsity: float) -> None:
    """Refuse a sparsity that zeroes no weight or all of them."""
    if not 0 < sparsity < 1:
        what = "leaves every weight" if sparsity == 0 else "leaves no weight" if sparsity == 1 else "is no share"
        raise ChiasmError(f"sparsity {sparsity:g}", f"it {what}", "Give a share between 0 and 1, for example 0.5")
