"""Where the parts become a directory that `from_pretrained` opens: decoder converted once, model assembled once.

Both are kept in the cache in float32, half a gigabyte each; their names hold a hash of what they are made from.
"""

import hashlib
from functools import cache
from pathlib import Path

from chiasm.smollm2.decoder import convert, weights_file
from chiasm.tiny.registry import weights_file as tiny_weights
from chiasm.tiny.store import kept


def weights(name: str) -> Path:
    """The file in the package that holds the projector of `name`, and its adapters if it has any."""
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def directory(name: str = "smollm2", decoder: Path | None = None) -> Path:
    """A directory with model and processor, made on first use. `decoder`: another Llama's; by default SmolLM2's own.

    **Errors:** `ChiasmError` that says what to install where the packages are not there.
    """
    language = pretrained() if decoder is None else decoder
    code = sorted(Path(__file__).parent.glob("*.py"))
    made = _hash(*code, weights(name), tiny_weights("tiny"), language / "config.json")
    return kept("smollm2", f"{name}-{_digest(made + language.name)}", lambda scratch: assemble(name, language, scratch))


def pretrained() -> Path:
    """The decoder as a `LlamaForCausalLM` with its tokenizer, converted on first use."""
    file = weights_file()
    # The first megabytes hold the header: which model it is, how it was quantised, and its vocabulary.
    with file.open("rb") as source:
        made = hashlib.sha256(source.read(1 << 23) + str(file.stat().st_size).encode()).hexdigest()[:12]
    return kept("smollm2", f"decoder-{made}", lambda scratch: convert(file, scratch))


def assemble(name: str, decoder: Path, target: Path) -> None:
    """Writes the model made of the decoder in a directory, `tiny`'s tower and the shipped tensors of `name`."""
    from safetensors.torch import load_file

    from chiasm.models.loading import bars_on_terminal
    from chiasm.smollm2 import shapes
    from chiasm.smollm2.words import tokenizer

    words = tokenizer(decoder)
    seeing = load_file(tiny_weights("tiny")) | load_file(weights(name))
    shapes.processor(words).save_pretrained(target)
    with bars_on_terminal():
        shapes.llava(decoder, words, seeing).save_pretrained(target)


@cache
def _hash(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
