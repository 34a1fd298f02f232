"""Options that studies share, and how their values are read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from chiasm.core.errors import ChiasmError
from chiasm.tiny.store import world

if TYPE_CHECKING:
    from chiasm.models.view import ModelView

Model = Annotated[str, Parameter(help="`tiny`, a hub id, or a directory written by `save_pretrained`.")]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def byte_count(text: str) -> int:
    """Bytes from `500MB`, `2GiB` or a plain number.

    **Errors:** `ChiasmError` for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise ChiasmError(f"--memory {text}", "it is no number of bytes", "Write for example 500MB or 2GiB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def _memory(type_: Any, tokens: Any) -> int:
    return byte_count(tokens[0].value)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the model is computed."""

    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`, or `auto` to spread a large model. Default: the first GPU, else the CPU."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] | None = None
    """Arithmetic of the model. Default: as in the checkpoint."""
    trust_remote_code: Annotated[bool, Parameter(negative="")] = False
    """Let a checkpoint run code of its authors. Off unless you say so."""

    def load(self, model: str) -> "ModelView":
        """The model there."""
        from chiasm import api

        return api.load(model, device=self.device, dtype=self.dtype, trust_remote_code=self.trust_remote_code)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Which examples, and where results go."""

    data: str | None = None
    """JSON Lines or Parquet file, folder of a published data set (or NAME:FOLDER), or `scenes`. Default:
    `scenes`, or its kin for videos or sounds."""
    media: Path | None = None
    """Folder of the pictures, videos or sounds, where they are not beside the data."""
    split: Literal["heldout", "train"] = "heldout"
    """Part of the data, where it has parts."""
    limit: int | None = None
    """Use the first so many examples. Default: all (of `scenes`, which has no end: 240)."""
    seed: int = 0
    """Picks the scenes and the random draws of controls."""
    batch_size: int | Literal["auto"] = "auto"
    """Examples computed together."""
    instruction: str | None = None
    """Text after the question. Default: the papers' single word or phrase; empty for none."""
    out: Path | None = None
    """Run directory. Default: `runs/STUDY-MODEL-DATA`."""
    resume: Annotated[bool, Parameter(negative="")] = False
    """Go on with the run in --out; finished parts are not repeated."""
    fresh: Annotated[bool, Parameter(negative="")] = False
    """Replace the run in --out."""

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of the functions in `chiasm.api`."""
        given: dict[str, Any] = {
            "media": self.media,
            "split": self.split,
            "limit": self.limit,
            "seed": self.seed,
            "batch_size": None if self.batch_size == "auto" else self.batch_size,
            "resume": self.resume,
            "fresh": self.fresh,
        }
        # What was not said is left to the functions, which know what the model takes in.
        said = {"data": self.data, "instruction": self.instruction}
        return given | {name: value for name, value in said.items() if value is not None}

    def directory(self, study: str, model: str) -> Path:
        """`--out`, or a name made of what is run, so that `--resume` finds it again."""
        words = [study, Path(model).name, Path(self.data or world(model)).stem]
        return self.out or Path("runs") / "-".join(re.sub(r"[^\w.@]+", "-", word) for word in words)


Memory = Annotated[
    int | None, Parameter(converter=_memory, help="Bytes above the clean pass, as 500MB. Default: no bound.")
]
