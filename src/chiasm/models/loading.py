"""From a hub id, a directory, or a model in memory to a `ModelView`; weights come from safetensors only."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoProcessor
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from chiasm.core.errors import ChiasmError, MissingExtraError
from chiasm.interventions.projectors import spec_of
from chiasm.models.adoption import adopt, require_answerable
from chiasm.models.architecture import automatic_class
from chiasm.models.families import answering_config, listed_family
from chiasm.models.projectors.swap import swapped_class
from chiasm.models.view import ModelView

_WEIGHTS = "model.safetensors"
_DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}


def load(
    source: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> ModelView:
    """The checkpoint `source` (a hub id, or a directory written by `save_pretrained`) ready for studies.

    `dtype`: None keeps the checkpoint's. `device`: None takes the first GPU, or the CPU; "auto" spreads the model over
    all devices. The architecture is judged from the configuration, before any weight is read; one that is not listed is
    tried by the conformance suite, once (`adoption.adopt`). Of a model that also speaks (Qwen2.5-Omni) only the part
    that perceives and answers is loaded.

    **Errors:** `ChiasmError` for a missing path, a directory that is no model, an architecture without a family,
    damaged weights, a missing processor, or a hub id that cannot be reached.
    """
    name = str(source)
    asked = f"load the model `{name}`"
    folder = Path(source).expanduser()
    local = folder.is_dir()
    if local:
        _require_model(asked, folder)
    elif folder.exists():
        raise ChiasmError(asked, "it is a file", "Name the directory that holds its config.json")
    elif looks_like_path(name):
        raise ChiasmError(asked, "there is no such directory", "Name a directory, a hub id, or `tiny`")
    where = str(folder) if local else name
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision or "main"}
    placed = as_device(device)
    config = answering_config(
        read_pretrained(asked, local, "its config.json", AutoConfig.from_pretrained, where, **options)
    )
    known = listed_family(config)
    if known is None:
        require_answerable(config)
    processor = read_pretrained(asked, local, "its processor", AutoProcessor.from_pretrained, where, **options)
    _require_processor(asked, processor)
    if local:
        _require_whole(asked, folder)
    architecture = automatic_class(config) if spec_of(config) is None else swapped_class(type(config))
    model = read_pretrained(
        asked,
        local,
        "its weights",
        architecture.from_pretrained,
        where,
        config=config,
        dtype=as_dtype(dtype) or "auto",
        use_safetensors=True,
        attn_implementation="sdpa",
        device_map="auto" if device == "auto" else None,
        **options,
    )
    if device != "auto":
        model = model.to(placed)
    return adopt(model.eval(), processor, name) if known is None else ModelView(model.eval(), processor, name)


def wrap(model: nn.Module, processor: Any, name: str = "in memory") -> ModelView:
    """A model that is already in memory, fine-tuned, or wrapped by PEFT. It is used as it is and never changed.

    **Errors:** `ChiasmError` if the processor is missing or the architecture has no family.
    """
    _require_processor("wrap a model in memory", processor)
    return adopt(model, processor, name) if listed_family(model.config) is None else ModelView(model, processor, name)


def as_dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    """The dtype that torch calls `name`; None stays None.

    **Errors:** `ChiasmError` naming the ones there are.
    """
    if name is None or isinstance(name, torch.dtype):
        return name
    found = _DTYPES.get(name.removeprefix("torch."))
    if found is None:
        raise ChiasmError(
            f"the dtype `{name}`", "it is none that models are run in", f"Name one of {', '.join(_DTYPES)}"
        )
    return found


def as_device(name: str | torch.device | None) -> torch.device:
    """The device called `name`; None is the first GPU, or the CPU; "auto" starts from the first as well.

    **Errors:** `ChiasmError` if torch has no such device here.
    """
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise ChiasmError(f"the device `{name}`", found, "Name `cpu`, or `cuda` where torch sees a GPU") from error
    return device


def looks_like_path(name: str) -> bool:
    """Whether `name` can only be meant as a directory: hub ids are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def _require_model(asked: str, folder: Path) -> None:
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise ChiasmError(
            asked,
            "it holds only an adapter",
            "Load its base model, wrap it with `peft.PeftModel`, and call `chiasm.load(model=..., processor=...)`",
        )
    raise ChiasmError(asked, "it is not a model: it holds no config.json", "Name a directory of `save_pretrained`")


def _require_whole(asked: str, folder: Path) -> None:
    """Weights are there, in safetensors, and every file is as long as its header says."""
    index = folder / f"{_WEIGHTS}.index.json"
    names = [_WEIGHTS]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ChiasmError(asked, f"`{index.name}` cannot be read ({error})", "Copy the model again") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        found = f"{', '.join(missing[:3])} is not there"
        if any(folder.glob("*.bin")):
            found += ", only pickled weights, which could run programs"
        raise ChiasmError(asked, found, "Save the model with `save_pretrained`, which writes safetensors")
    for name in names:
        try:
            # Opening reads the header and compares it with the length of the file.
            with safe_open(folder / name, framework="pt"):
                continue
        except SafetensorError as error:
            raise ChiasmError(asked, f"`{name}` is damaged ({error})", "Copy the model again") from error


def _require_processor(asked: str, processor: Any) -> None:
    if processor is None:
        raise ChiasmError(asked, "no processor was given", "Pass processor=AutoProcessor.from_pretrained(...)")
    if getattr(processor, "tokenizer", None) is None:
        found = f"its processor is a {type(processor).__name__}, which has no tokenizer"
        raise ChiasmError(asked, found, "Save the whole processor beside the model (`save_pretrained`)")


@contextmanager
def bars_on_terminal() -> Iterator[None]:
    """transformers' progress bars only where someone watches standard error."""
    if not is_progress_bar_enabled() or sys.stderr.isatty():
        yield
        return
    disable_progress_bar()
    try:
        yield
    finally:
        enable_progress_bar()


def read_pretrained(asked: str, local: bool, what: str, reader: Any, where: str, **options: Any) -> Any:
    """One call into transformers, its failures as `ChiasmError`."""
    try:
        with bars_on_terminal():
            return reader(where, **options)
    except ImportError as error:
        if "torchvision" in str(error):
            raise MissingExtraError(asked, "torchvision", "torchvision") from error
        raise
    except (OSError, ValueError, KeyError, SafetensorError, HFValidationError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")
        if "trust_remote_code" in str(error):
            todo = "If you trust its authors, give --trust-remote-code, which runs their code"
        elif local:
            todo = "Save model and processor with `save_pretrained`"
        else:
            todo = "Check the name and the network, or name a local directory"
        raise ChiasmError(asked, f"{what} cannot be read ({first})", todo) from error
