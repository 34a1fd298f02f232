"""The options that studies share, each declared once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example, Split
from chiasm.core.options import (
    IN_MEMORY,
    MISSING,
    Options,
    Section,
    compute_option,
    declared,
    example_option,
    option,
    write_option,
)
from chiasm.tiny.registry import world


class Loaded(Protocol):
    """A model in memory, as `chiasm.load` gives it."""

    name: str


Model = str | Path | Loaded
Data = str | Path | Iterable[Example]
RANDOM_BASELINE = "random"
"""As the baseline: a model of the same class and shape whose weights are drawn at random."""

MAX_LOSS = 0.01
"""Share of right answers that may be lost, where nothing else is asked."""

ExecutorName = Literal["lockstep", "reference"]
DataType = Literal["float32", "bfloat16", "float16", "float64"]
AdapterUse = Literal["apply", "ignore"]

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


def share(value: float | str) -> float:
    """A share from `1%` or `0.01`.

    **Errors:** `ChiasmError` for anything else.
    """
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", value) if isinstance(value, str) else None
    found = float(match[1]) / (100 if match[2] else 1) if match else value
    if isinstance(found, str) or not 0 <= found < 1:
        raise ChiasmError(f"--max-loss {value}", "it is no share from 0 to below 1", "Write for example 1% or 0.01")
    return found


def loss_option() -> Any:
    """The option that says how many right answers a recommendation may cost."""
    return option(
        MAX_LOSS,
        "Share of right answers that may be lost, as 1% or 0.01: what is recommended keeps within it by the bound of "
        "its interval.",
        convert=share,
        typed_as=str,
        common=True,
    )


def data_option(help: str, default: Any = None, **more: Any) -> Any:
    """An option that takes data."""
    return option(default, help, **{"recorded": data_name, "typed_as": str | None, **more})


def model_option(help: str, **more: Any) -> Any:
    """An option that takes a model."""
    return option(None, help, recorded=model_name, typed_as=str | None, **more)


def memory_option(help: str = "Bytes above the clean pass, as 500MB. Default: no bound.") -> Any:
    """An option that takes a number of bytes."""
    return compute_option(None, help, convert=byte_count, typed_as=str | None, common=True)


def studied_option(
    default: Any = MISSING, help: str = "`tiny`, a hub id, or a directory written by `save_pretrained`.", **more: Any
) -> Any:
    """An option that takes the model, or the models, that a study is about."""
    return example_option(default, help, positional=True, recorded=model_name, typed_as=str, common=True, **more)


def examples_option(default: str = "`scenes`, or its kin for videos or sounds.") -> Any:
    """An option that takes the data of a study. `default`: what help says of data that are not given."""
    kinds = "JSON Lines, Parquet or tar file, folder of a published data set (or NAME:FOLDER), or `scenes`."
    more = {"section": Section.EXAMPLES, "positional": True, "common": True, "by_content": True}
    return data_option(f"{kinds} Default: {default}", **more)


def random_models_option(default: int, use: str, more: str = "") -> Any:
    """The option that says how many models with random weights stand beside the one studied. `use`: for what."""
    return option(
        default, f"Models with random weights that {use}, so that their differences are seen.{more}", at_least=1
    )


def seed_option() -> Any:
    """The option that everything drawn follows from."""
    return example_option(0, "Picks the scenes and the random draws of controls.", at_least=0)


def outside_option() -> Any:
    """The option that lets data name files anywhere."""
    return example_option(
        False,
        "Let data name images, videos and sounds outside their folder, by absolute paths, `..` or links. For data that "
        "you trust.",
        identity=False,
    )


@dataclass(frozen=True, kw_only=True)
class FunctionOptions(Options):
    """Options of a Python function that has no command: errors name them as arguments."""

    has_command: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class LoadingOptions(Options):
    """How a model is loaded."""

    device: str | None = compute_option(
        None,
        "`cpu`, `cuda`, `cuda:1`, or `auto` to spread a large model. Default: the first GPU, else the CPU.",
        common=True,
    )
    dtype: DataType | None = compute_option(
        None,
        "Arithmetic of the model. Default: float32 at least, from the checkpoint's weights as they are kept: those in "
        "half precision are raised while they are used. `bfloat16` and `float16` compute as the model is served, and "
        "carry rounding into every result.",
        common=True,
    )
    trust_remote_code: bool = compute_option(False, "Let a checkpoint run code of its authors. Off unless you say so.")
    adapter: AdapterUse | None = compute_option(
        None,
        "An adapter that lies beside a full model: `apply` it, or `ignore` it where the weights hold it already. "
        "Default: such a model is refused.",
    )


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(Options):
    """Which examples are read, and how they are asked about."""

    seed: int = seed_option()
    media: str | Path | None = example_option(
        None, "Folder of the images, videos or sounds, where they are not beside the data.", identity=False
    )
    allow_outside: bool = outside_option()
    split: Split = example_option("heldout", "Part of the data, where it has parts.")
    limit: int | None = example_option(
        None,
        "Use the first so many examples. Default: all (of `scenes`, which has no end: 240).",
        common=True,
        at_least=1,
    )
    ids: Sequence[str] = example_option(
        (), "Use the example of this id alone, of those up to --limit; repeat it for several. Tables name the ids."
    )
    instruction: str = example_option(DEFAULT_INSTRUCTION, "Text after the question; empty for none.")


S = TypeVar("S", bound="StudySpec")


@dataclass(frozen=True, kw_only=True)
class StudySpec(LoadingOptions):
    """What every study takes: where it is computed and where its results go."""

    auto_batch_size: ClassVar[int] = 8

    seed: int = seed_option()
    batch_size: int | Literal["auto"] | None = option(
        "auto",
        "Examples computed together. `auto`: as many as free memory has room for by the model's sizes, at most 8 to 24 "
        "by study.",
        section=Section.COMPUTE,
        at_least=1,
        formerly=("unit",),
        typed_as=int | Literal["auto"],
    )
    workers: int | Literal["auto"] | None = compute_option(
        1,
        "Processes on this machine that share the work, each with its share of the cores. `auto`: one per core. A "
        'script that asks for several needs `if __name__ == "__main__":`.',
        at_least=1,
        typed_as=int | Literal["auto"],
    )
    runner: Literal["processes", "ray"] = compute_option(
        "processes",
        "Where --workers run: processes of this machine, or actors on a `ray` cluster (pip install 'chiasm[ray]').",
    )
    address: str | None = compute_option(
        None,
        "The Ray cluster, as `auto` or ray://HOST:10001. Default: one is started on this machine, and none is looked "
        "for.",
    )
    gpus_each: int | None = compute_option(
        None,
        "GPUs of each worker on Ray; a model is spread over several. Default: one where the cluster has any.",
        at_least=0,
    )
    out: str | Path | None = write_option(
        None,
        "Run directory, or an address (s3://BUCKET/RUN) that the finished run is copied to. Default: "
        "`runs/STUDY-MODEL-DATA`.",
        typed_as=str | None,
    )
    resume: bool = write_option(
        False,
        "Go on with the run in --out, or share the work of those that are at it; finished parts are not repeated.",
    )
    fresh: bool = write_option(False, "Replace the run in --out.")

    @property
    def batch(self) -> int:
        """Examples computed together, as a number."""
        return self.batch_size if isinstance(self.batch_size, int) else self.auto_batch_size

    def auto_workers(self, cores: int) -> int:
        """How many processes `--workers auto` means on a machine of so many cores."""
        return cores

    @property
    def smallest(self) -> float | None:
        """The smallest effect worth naming; None: that of the study."""
        return None

    def title(self) -> tuple[str, ...]:
        """What the run is about, for the name of its directory."""
        return ()

    def derive(self, spec: type[S], **own: Any) -> S:
        """The spec of another study whose run is a part of this one's, and goes on where it was stopped.

        Options that both have are passed on, but for where it is written; `own` are others, or other values.
        """
        known = {one.name for one in declared(spec)}
        passed = [one.name for one in declared(type(self)) if one.option.section is not Section.WRITE]
        shared = {name: getattr(self, name) for name in passed if name in known}
        return spec(**{**shared, "resume": True, **own})


@dataclass(frozen=True, kw_only=True)
class ExamplesSpec(ReadingOptions, StudySpec):
    """What studies of examples take besides."""


@dataclass(frozen=True)
class ModelSpec(ExamplesSpec):
    """What studies of one model on one set of examples take."""

    model: Model = studied_option(by_content=True)
    data: Data | None = examples_option()

    def title(self) -> tuple[str, ...]:
        name = model_name(self.model) or ""
        return (Path(name).name, Path(data_name(self.data) or world(name)).stem)


@dataclass(frozen=True, kw_only=True)
class ControlledSpec(ModelSpec):
    """What studies of one model with controls take."""

    controls: bool = option(True, "Controls, and the random-weights baseline, beside every result.", common=True)
    baseline: Model | None = model_option(
        "Model with random weights and the same shape, or `random` to draw the weights of such a model (which takes "
        "the model's memory once more). Default: `tiny-random` for the embedded models, else none.",
        formerly=("twin",),
        alias=("twin",),
        by_content=True,
    )
