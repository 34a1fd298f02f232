"""The options that studies share, each declared once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.core.options import Options, Section, option


class Loaded(Protocol):
    """A model in memory, as `chiasm.load` gives it."""

    name: str


Model = str | Path | Loaded
Data = str | Path | Iterable[Example]
Split = Literal["heldout", "train"]
ExecutorName = Literal["lockstep", "reference"]
DataType = Literal["float32", "bfloat16", "float16", "float64"]

IN_MEMORY = "in memory"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def model_name(model: Any) -> str | None:
    """What specs and reports call a model."""
    return None if model is None else str(model) if isinstance(model, str | Path) else model.name


def data_name(data: Any) -> str | None:
    """What specs and reports call data."""
    return None if data is None else str(data) if isinstance(data, str | Path) else IN_MEMORY


def byte_count(value: int | str) -> int:
    """Bytes from `500MB`, `2GiB` or a plain number.

    **Errors:** `ChiasmError` for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(value))
    if not match or match[2].upper() not in _UNITS:
        raise ChiasmError(f"--memory {value}", "it is no number of bytes", "Write for example 500MB or 2GiB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def data_option(help: str, default: Any = None, **more: Any) -> Any:
    """An option that takes data."""
    return option(default, help, **{"recorded": data_name, "typed_as": str | None, **more})


def model_option(help: str, **more: Any) -> Any:
    """An option that takes a model."""
    return option(None, help, recorded=model_name, typed_as=str | None, **more)


def memory_option(help: str = "Bytes above the clean pass, as 500MB. Default: no bound.") -> Any:
    """An option that takes a number of bytes."""
    return option(
        None, help, section=Section.COMPUTE, identity=False, convert=byte_count, typed_as=str | None, common=True
    )


@dataclass(frozen=True, kw_only=True)
class StudySpec(Options):
    """What every study takes: where it is computed and where its results go."""

    auto_batch_size: ClassVar[int] = 8

    seed: int = option(0, "Picks the scenes and the random draws of controls.", section=Section.EXAMPLES, at_least=0)
    batch_size: int | Literal["auto"] | None = option(
        "auto",
        "Examples computed together.",
        section=Section.COMPUTE,
        at_least=1,
        formerly=("unit",),
        typed_as=int | Literal["auto"],
    )
    device: str | None = option(
        None,
        "`cpu`, `cuda`, `cuda:1`, or `auto` to spread a large model. Default: the first GPU, else the CPU.",
        section=Section.COMPUTE,
        identity=False,
        common=True,
    )
    dtype: DataType | None = option(
        None,
        "Arithmetic of the model. Default: as in the checkpoint.",
        section=Section.COMPUTE,
        identity=False,
        common=True,
    )
    trust_remote_code: bool = option(
        False,
        "Let a checkpoint run code of its authors. Off unless you say so.",
        section=Section.COMPUTE,
        identity=False,
    )
    out: str | Path | None = option(
        None,
        "Run directory. Default: `runs/STUDY-MODEL-DATA`.",
        section=Section.WRITE,
        identity=False,
        typed_as=Path | None,
        common=True,
    )
    resume: bool = option(
        False,
        "Go on with the run in --out; finished parts are not repeated.",
        section=Section.WRITE,
        identity=False,
        common=True,
    )
    fresh: bool = option(False, "Replace the run in --out.", section=Section.WRITE, identity=False, common=True)

    @property
    def batch(self) -> int:
        """Examples computed together, as a number."""
        return self.batch_size if isinstance(self.batch_size, int) else self.auto_batch_size

    def title(self) -> tuple[str, ...]:
        """What the run is about, for the name of its directory."""
        return ()


@dataclass(frozen=True, kw_only=True)
class ExamplesSpec(StudySpec):
    """What studies of examples take besides."""

    media: str | Path | None = option(
        None,
        "Folder of the images, videos or sounds, where they are not beside the data.",
        section=Section.EXAMPLES,
        identity=False,
    )
    split: Split = option("heldout", "Part of the data, where it has parts.", section=Section.EXAMPLES)
    limit: int | None = option(
        None,
        "Use the first so many examples. Default: all (of `scenes`, which has no end: 240).",
        section=Section.EXAMPLES,
        common=True,
    )
    instruction: str = option(
        DEFAULT_INSTRUCTION,
        "Text after the question; empty for none.",
        section=Section.EXAMPLES,
    )


DATA_HELP = (
    "JSON Lines or Parquet file, folder of a published data set (or NAME:FOLDER), or `scenes`. Default: `scenes`, or "
    "its kin for videos or sounds."
)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ExamplesSpec):
    """What studies of one model on one set of examples take."""

    model: Model = option(
        help="`tiny`, a hub id, or a directory written by `save_pretrained`.",
        section=Section.EXAMPLES,
        positional=True,
        recorded=model_name,
        typed_as=str,
        common=True,
    )
    data: Data | None = data_option(DATA_HELP, section=Section.EXAMPLES, positional=True, common=True)

    def title(self) -> tuple[str, ...]:
        return (Path(model_name(self.model) or "").name, Path(data_name(self.data) or "").stem)


@dataclass(frozen=True, kw_only=True)
class ControlledSpec(ModelSpec):
    """What studies of one model with controls take."""

    controls: bool = option(True, "Controls, and the random-weights baseline, beside every result.", common=True)
    baseline: Model | None = model_option(
        "Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none.",
        formerly=("twin",),
        alias=("twin",),
    )
