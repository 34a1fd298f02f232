"""Whose attention is read, and what is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.core.options import option
from chiasm.core.spans import require_known
from chiasm.studies.look.tables import SMALLEST
from chiasm.studies.options import ControlledSpec, random_models_option


@dataclass(frozen=True, kw_only=True)
class LookSpec(ControlledSpec):
    """Where does my model look?

    Attention of the tokens you choose, layer by layer, and the word that each image token is closest to, by the output
    head, the input embeddings and words in texts; both drawn over the image, and judged against what the image shows.
    The attention of all tokens is never held at once, and eager attention is not needed.

    The embedded model, on the embedded world:

        chiasm look tiny

    Your model, your data, from the question and from the last token, every head kept in the table:

        chiasm look llava-hf/llava-1.5-7b-hf --data my.jsonl --query question --query last --heads

    Assumption: attention says where a head reads, not that what it reads matters; `chiasm flow` cuts it and sees.
    """

    controls: bool = option(
        True,
        "The random-weights baseline beside every curve.",
        common=True,
    )
    queries: str | Sequence[str] = option(
        ("last",),
        "Span whose tokens attend (the mean over them); repeat it. Default: last.",
        common=True,
        formerly=("query",),
    )
    heads: bool = option(False, "Keep every head in the table, not only their mean.", common=True)
    smallest_effect: float = option(
        SMALLEST,
        "Smallest difference of attention worth naming, in points (a share of 0.02 is 2).",
        at_least=0,
        below=100,
    )
    random_models: int = random_models_option(8, "share the examples")
    maps: int = option(
        4,
        "Draw the first so many examples, and decode the words of their image tokens.",
        at_least=0,
        common=True,
    )

    named: int = option(
        64,
        "Of the first so many examples with boxes, judge whether words at an object's tokens name it; 0 for none.",
        at_least=0,
        common=True,
    )

    context_index: str | Path | None = option(
        None,
        "Folder of words in context that LatentLens wrote for this model (`ContextualIndex.save`). Default: words are "
        "read in texts of the data.",
        typed_as=str | None,
    )

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.queries:
            raise ChiasmError("attention without a query", "no span was named", "Name one, as `last` or `question`")
        for query in self.queries:
            require_known(f"--query {query}", query)
        repeated = sorted({query for query in self.queries if self.queries.count(query) > 1})
        if repeated:
            raise ChiasmError("these queries", f"`{repeated[0]}` is given twice", "Give every span once")
