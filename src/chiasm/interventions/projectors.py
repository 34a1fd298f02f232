"""Which projector stands between vision tower and decoder, as a value that a checkpoint's configuration keeps."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from chiasm.core.errors import ChiasmError, require_one_of

ProjectorKind = Literal["orthogonal", "linear", "mlp", "residual", "pool", "perceiver", "qformer", "gated"]
PROJECTOR_KINDS: tuple[ProjectorKind, ...] = get_args(ProjectorKind)
KEY: Final = "chiasm_projector"
"""The entry of a model's configuration that holds the spec; without it the projector is transformers' own."""

_QUERIES: Final = ("perceiver", "qformer", "gated")
# What each kind reads of the spec, with its value where none is given.
_DEFAULTS: Final[dict[ProjectorKind, dict[str, int]]] = {
    "orthogonal": {},
    "linear": {},
    "mlp": {"depth": 2},
    "residual": {"depth": 2, "blocks": 1},
    "pool": {"depth": 2, "stride": 2},
    "perceiver": {"tokens": 64, "depth": 6},
    "qformer": {"tokens": 32, "depth": 12},
    "gated": {"tokens": 64, "depth": 6},
}
_WIDE: Final = ("mlp", "residual", "pool", "perceiver", "qformer", "gated")


@dataclass(frozen=True, slots=True)
class ProjectorSpec:
    """A kind of projector and its sizes; 0 stands for the kind's own default, and `width` 0 for the width around it.

    `depth`: linear layers of an MLP, or blocks of a resampler. `width`: of hidden layers (MLP) or inside (resamplers).
    `blocks`: residual blocks behind the MLP. `stride`: side of the squares of patches that pooling averages. `tokens`:
    how many image tokens a resampler writes.
    """

    kind: ProjectorKind
    depth: int = 0
    width: int = 0
    blocks: int = 0
    stride: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        require_one_of(f"the projector `{self.kind}`", self.kind, PROJECTOR_KINDS)
        takes = _DEFAULTS[self.kind] | ({"width": 0} if self.kind in _WIDE else {})
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value and field.name not in takes:
                known = ", ".join(takes) or "no size"
                raise ChiasmError(f"`{field.name}` of the projector `{self.kind}`", f"it takes {known}", "Leave it out")
            if value < 0:
                raise ChiasmError(f"{field.name}={value}", "sizes are positive", "Give a larger number")
            object.__setattr__(self, field.name, value or takes.get(field.name, 0))

    @property
    def by_queries(self) -> bool:
        """Whether its tokens read the whole image, so that none of them stands for a patch."""
        return self.kind in _QUERIES

    def tokens_for(self, rows: int, columns: int) -> int:
        """Image tokens for a grid of patches.

        **Errors:** `ChiasmError` where pooling squares do not fill the grid.
        """
        if self.by_queries:
            return self.tokens
        if self.kind == "pool":
            if rows % self.stride or columns % self.stride:
                found = f"the tower gives {rows} x {columns} patches"
                raise ChiasmError(f"pool squares of {self.stride} patches", found, "Choose a stride that divides both")
            return (rows // self.stride) * (columns // self.stride)
        return rows * columns

    def __str__(self) -> str:
        sizes = [f"{k}={v}" for k, v in asdict(self).items() if k != "kind" and v and v != _DEFAULTS[self.kind].get(k)]
        return f"{self.kind}:{','.join(sizes)}" if sizes else self.kind


def parse_projector(text: str) -> ProjectorSpec:
    """`mlp`, `mlp:depth=3,width=512`, `perceiver:tokens=16`, ...

    **Errors:** `ChiasmError` that names the kinds or the sizes there are.
    """
    kind, _, rest = text.strip().partition(":")
    sizes: dict[str, int] = {}
    known = [field.name for field in fields(ProjectorSpec)[1:]]
    for part in filter(None, rest.split(",")):
        name, _, value = part.strip().partition("=")
        if name not in known or not value.isdigit():
            ProjectorSpec(kind)  # type: ignore[arg-type] (a kind that there is none of is the first thing to say)
            todo = f"Write NAME=NUMBER, NAME out of {', '.join(known)}"
            raise ChiasmError(f"the projector `{text}`", f"`{part}` is no size", todo)
        sizes[name] = int(value)
    return ProjectorSpec(kind, **sizes)  # type: ignore[arg-type] (checked there)


def spec_of(config: Any) -> ProjectorSpec | None:
    """The spec that a model's configuration keeps; None where the projector is transformers' own."""
    kept = vars(config).get(KEY)
    return None if kept is None else ProjectorSpec(**kept)
