"""Formats that are not transformers' own, recognised by their files, with the way to a directory that can be loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

_SAVE: Final = "Save the model with `save_pretrained`, which writes safetensors"
_PICKLED: Final = "only pickled weights, which could run programs"


class ForeignFormat(NamedTuple):
    """What was found, and what to do with it."""

    found: str
    todo: str


_LLAVA_KINDS: Final = ("llava_llama", "llava_mistral", "llava_mixtral", "llava_mpt", "llava_qwen")
_LLAVA_ENTRY: Final = "mm_vision_tower"
_PROJECTOR_FILES: Final = ("mm_projector.bin", "non_lora_trainables.bin")
_ORIGINAL_LLAVA: Final = ForeignFormat(
    "it is in the format of LLaVA's own code (`{}`), which transformers does not read",
    "Name the same checkpoint converted to transformers' format, whose names end in `-hf` "
    "(`llava-hf/llava-1.5-7b-hf`), or convert it with transformers' `convert_llava_weights_to_hf.py`",
)

_BY_PATTERN: Final = (
    ("*.gguf", "{names} is in GGUF, the format of llama.cpp, and there is no model.safetensors",
     "Name the checkpoint it was made from, or let transformers read it (`from_pretrained(..., gguf_file=...)`) and "
     "save it with `save_pretrained`"),
    ("consolidated*.pth", f"{{names}} is in the layout of the model's authors: {_PICKLED}",
     "Name the same checkpoint in transformers' format (its name mostly ends in `-hf`), or convert it with the script "
     "that transformers has for it"),
    ("consolidated*.safetensors", "{names} is in the layout of the model's authors, not in transformers'",
     "Name the same checkpoint in transformers' format, whose weights are model.safetensors"),
    ("*.bin", f"model.safetensors is not there, {_PICKLED} ({{names}})", _SAVE),
    ("*.pt", f"model.safetensors is not there, {_PICKLED} ({{names}})", _SAVE),
    ("*.pth", f"model.safetensors is not there, {_PICKLED} ({{names}})", _SAVE),
    ("*.ckpt", f"model.safetensors is not there, {_PICKLED} ({{names}})", _SAVE),
    ("*.h5", "its weights are those of TensorFlow ({names})", _SAVE),
    ("*.msgpack", "its weights are those of Flax ({names})", _SAVE),
    ("*.onnx", "its weights are in ONNX ({names})", _SAVE),
)  # fmt: skip


def original_llava(folder: Path | None, config: Mapping[str, Any]) -> ForeignFormat | None:
    """LLaVA as its authors save it, also what their LoRA training leaves; by configuration and files."""
    architectures = config.get("architectures")
    named = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    # transformers' own are `Llava...ForConditionalGeneration`; theirs end in the name of a language model.
    theirs = [name for name in named if name.lower().startswith("llava") and name.endswith("ForCausalLM")]
    files = [] if folder is None else [name for name in _PROJECTOR_FILES if (folder / name).is_file()]
    kind = str(config.get("model_type", ""))
    kinds = [kind] if kind.startswith(_LLAVA_KINDS) or _LLAVA_ENTRY in config else []
    why = theirs or files or kinds
    return _ORIGINAL_LLAVA._replace(found=_ORIGINAL_LLAVA.found.format(why[0])) if why else None


def foreign_weights(folder: Path) -> ForeignFormat | None:
    """The format of the weights in a directory that lacks transformers' own; None where there are none."""
    for pattern, found, todo in _BY_PATTERN:
        names = sorted(path.name for path in folder.glob(pattern) if path.name != "training_args.bin")
        if names:
            shown = ", ".join(f"`{name}`" for name in names[:2]) + (f" and {len(names) - 2} more" * (len(names) > 2))
            return ForeignFormat(found.format(names=shown), todo)
    return None
