"""What a run over several models, for the published figures, was asked to do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION
from chiasm.studies.align.spec import DEFAULT_SPANS, AlignSpec

_CHECKPOINT = re.compile(r"(.+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSpec:
    """One run of `chiasm align --paper`: `data` holds one source for each of `models`, `twin`: those of them that
    have random weights; one stands beside the models that were asked about the same data.

    `limit`: examples of each source. Names that end in a number (`checkpoint-500`) are checkpoints of what stands
    before it.
    """

    models: tuple[str, ...]
    data: tuple[str, ...]
    twin: tuple[str, ...] = ()
    span: tuple[str, ...] = DEFAULT_SPANS
    limit: int | None = None
    split: str = "heldout"
    instruction: str = DEFAULT_INSTRUCTION
    seed: int = 0
    unit: int = 8

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) < len(self.models) or len(self.data) != len(self.models):
            found = f"{', '.join(self.models) or 'none'} given, with {len(self.data)} sources of data"
            raise ChiasmError("draw the published figures", found, "Name models, each once, with one source each")
        self.of(0)  # says what is wrong with spans and sizes

    @property
    def model(self) -> str:
        """All of them, as the report names them."""
        return ", ".join(self.models)

    def of(self, index: int) -> AlignSpec:
        """The run of one model. The random twin stands beside all: it is a model of its own here."""
        return AlignSpec(
            model=self.models[index],
            data=self.data[index],
            span=self.span,
            limit=self.limit,
            split=self.split,
            by_task=True,
            controls=False,
            instruction=self.instruction,
            seed=self.seed,
            unit=self.unit,
        )


def twins(twin: Sequence[str], data: Mapping[str, str]) -> dict[str, str]:
    """The model with random weights that stands beside each other one: the first that was asked about the same data.

    `data`: what each model was asked about.
    """
    first = {data[name]: name for name in reversed(twin) if name in data}
    return {name: first[source] for name, source in data.items() if name not in twin and source in first}


def checkpoint(name: str) -> tuple[str, int | None]:
    """Of `NAME-STEPS` the name and the steps; nothing of another name."""
    match = _CHECKPOINT.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", None)
