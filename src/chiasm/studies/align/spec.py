"""What an alignment run was asked to do."""

from dataclasses import dataclass
from typing import Final

from chiasm.core.errors import ChiasmError
from chiasm.core.spans import PERCEPTUAL, is_perceptual
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION

DEFAULT_SPANS: Final = (*PERCEPTUAL, "question")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSpec:
    """One run of `chiasm align`. Equal specs ask for equal tables.

    `span`: which parts of the sequence are read; perceptual ones are compared with textual ones. `as_released`: also
    the forms of the released code, where they are not the right ones. `controls`: also random tokens in place of the
    image, and the `twin`, a model with random weights, on the first `control_limit` examples. `inside`: also read
    between the parts of every block; `token_pairs`: there also the statistics of all pairs of tokens, which is dear.
    `by_task`: masks also by question type. `apart`: blocks that keep the modalities apart in the control of that name
    (None: half of them; 0: no such control). `vocabulary_tokens`: tokens per span and example that are read in words
    (0: none). `unit`: examples computed together.
    """

    model: str
    data: str
    span: tuple[str, ...] = DEFAULT_SPANS
    limit: int | None = None
    split: str = "heldout"
    as_released: bool = False
    inside: bool = True
    token_pairs: bool = False
    by_task: bool = False
    vocabulary_tokens: int = 16
    controls: bool = True
    control_limit: int = 64
    twin: str | None = None
    apart: int | None = None
    instruction: str = DEFAULT_INSTRUCTION
    seed: int = 0
    unit: int = 8

    def __post_init__(self) -> None:
        for name, value, least in (
            ("batch-size", self.unit, 1),
            ("control-limit", self.control_limit, 1),
            ("vocabulary-tokens", self.vocabulary_tokens, 0),
            ("apart", 0 if self.apart is None else self.apart, 0),
        ):
            if value < least:
                raise ChiasmError(f"--{name} {value}", f"the least is {least}", "Give a larger number")
        if self.token_pairs and not self.inside:
            raise ChiasmError("--token-pairs", "--no-inside leaves out the places that it reads", "Drop one of them")
        if len(set(self.span)) < len(self.span):
            raise ChiasmError("these spans", "one is given twice", "Give every span once")
        sides = {is_perceptual(span) for span in self.span}
        if sides != {True, False}:
            lacking = "textual" if True in sides else "perceptual"
            found = f"{', '.join(self.span) or 'none'}: no {lacking} span among them"
            raise ChiasmError("compare spans", found, "Give both, as --span image --span question")
