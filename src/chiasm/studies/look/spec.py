"""What a look at a model's attention was asked to show."""

from dataclasses import dataclass

from chiasm.core.errors import ChiasmError
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class LookSpec:
    """One run of `chiasm look`. `query`: spans whose tokens look. `heads`: keep every head, not only their mean.

    `maps`: for how many of the first examples attention is drawn over the image and the words nearest to its tokens
    are decoded. `twin`: the model that is the control with random weights. `unit`: examples computed together.
    """

    model: str
    data: str
    query: tuple[str, ...] = ("last",)
    limit: int | None = None
    split: str = "heldout"
    heads: bool = False
    maps: int = 4
    instruction: str = DEFAULT_INSTRUCTION
    controls: bool = True
    twin: str | None = None
    seed: int = 0
    unit: int = 8

    def __post_init__(self) -> None:
        if not self.query:
            raise ChiasmError("a look without a query", "no span was named", "Name one, as `last` or `question`")
        repeated = sorted({query for query in self.query if self.query.count(query) > 1})
        if repeated:
            raise ChiasmError("these queries", f"`{repeated[0]}` is given twice", "Give every span once")
        for name, value, least in (("maps", self.maps, 0), ("batch-size", self.unit, 1)):
            if value < least:
                raise ChiasmError(f"--{name} {value}", f"the least is {least}", "Give a larger number")
