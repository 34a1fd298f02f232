"""What an alignment run was asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chiasm.core.errors import ChiasmError
from chiasm.core.options import option
from chiasm.core.spans import PERCEPTUAL, is_perceptual, require_known
from chiasm.studies.align.tables import SMALLEST
from chiasm.studies.options import ControlledSpec, random_models_option

DEFAULT_SPANS: Final = (*PERCEPTUAL, "question")


def spans_option() -> Any:
    """An option that takes the spans which are read; perceptual ones are compared with textual ones."""
    return option(
        DEFAULT_SPANS,
        "Part of the sequence to read; repeat it. Default: image, video, audio (as far as there is any) and question.",
        common=True,
        formerly=("span",),
    )


def check_spans(spans: Sequence[str]) -> None:
    """Spans of both kinds, each once.

    **Errors:** `ChiasmError` otherwise.
    """
    for span in spans:
        require_known(f"--span {span}", span)
    if len(set(spans)) < len(spans):
        raise ChiasmError("these spans", "one is given twice", "Give every span once")
    kinds = {is_perceptual(span) for span in spans}
    if kinds != {True, False}:
        lacking = "textual" if True in kinds else "perceptual"
        found = f"{', '.join(spans) or 'none'}: no {lacking} span among them"
        raise ChiasmError("compare spans", found, "Give both, as --span image --span question")


@dataclass(frozen=True, kw_only=True)
class AlignSpec(ControlledSpec):
    """Do image and text tokens share a space, and how fast does either change?

    One plain pass of the untouched model gives norms, change from layer to layer, similarities, nearest words, the
    weights that either needs, and the alignment score, with intervals and controls.

    The embedded model, on the embedded world:

        chiasm align tiny

    Your model, your data, other spans, and the released code's forms beside the right ones:

        chiasm align llava-hf/llava-1.5-7b-hf --data my.jsonl --span image --span question+suffix --as-released

    Source: Shukor & Cord 2024 (arXiv 2405.16700). Nothing here is causal: a cosine says how alike directions are.
    """

    controls: bool = option(
        True, "Random tokens in place of the image, isolated modalities, and the random-weights baseline.", common=True
    )
    spans: Sequence[str] = spans_option()
    as_released: bool = option(
        False, "Also the forms of the released code where they are not the right ones.", common=True
    )
    inside: bool = option(True, "Also read between the parts of every block.")
    token_pairs: bool = option(
        False, "Also medians and extremes over all pairs of tokens inside the blocks, which is dear."
    )
    by_task: bool = option(False, "Also compare the weights that question types need.", common=True)
    vocabulary_tokens: int = option(
        64,
        "At most so many tokens per span and example are read in words, at nine depths; 0 for none. Costs most of all.",
        at_least=0,
        common=True,
    )
    smallest_effect: float = option(
        SMALLEST,
        "Smallest difference of cosines or overlaps worth naming; divergences count from so many nat, norms from 10 %.",
        below=1,
    )
    control_limit: int = option(
        64, "Run controls on the first so many examples.", at_least=1, common=True, of_first=True
    )
    random_models: int = random_models_option(
        6,
        "contrasts are held against",
        " All but the first are read without words and the other dear measures.",
    )
    isolated_blocks: int | None = option(
        None,
        "First blocks without attention between the modalities in one of the controls; 0 for none. Default: half.",
        at_least=0,
        formerly=("apart",),
    )

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_pairs and not self.inside:
            raise ChiasmError("--token-pairs", "--no-inside leaves out the places that it reads", "Drop one of them")
        check_spans(self.spans)
