"""A small model of any mapped type, with its processor: made by rules, and sized until an input fits."""

import inspect
import re
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from tests.support.breadth.configurations import LAYERS, WIDTH, default_configuration, small_configuration
from tests.support.breadth.processors import KINDS, image_side, make_parts, make_processor, processor_class
from tests.support.breadth.wanted import WANTED
from tests.support.factories import enlarge
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin

from chiasm.models.architecture import model_class
from chiasm.models.families import answering_config

_MISMATCHES: Final = (
    r"tokens:? ?(?P<tokens>\d+)\D+features:? ?(?P<features>\d+)",
    r"value tensor of shape \[(?P<features>\d+), \d+\] cannot be broadcast to indexing result of shape "
    r"\[(?P<tokens>\d+),",
)
"""What models, and torch, say where an image has more or fewer tokens than features."""
_STANDARD: Final = ("bos", "eos", "pad", "unk", "sep", "cls")


class Made(NamedTuple):
    model: PreTrainedModel
    processor: ProcessorMixin


def token_ids(config: PreTrainedConfig, processor: ProcessorMixin) -> dict[str, Any]:
    """Entries of a configuration that name a token, with the ids that the processor gives them."""
    tokenizer = processor.tokenizer
    known = tokenizer.get_vocab()
    spare = iter(sorted(token for token in known if token.startswith("<0x") or len(token) == 1))

    def own(stem: str) -> int | None:
        for owner in (processor, tokenizer):
            for name in (f"{stem}_token_id", f"{stem}_id"):
                value = getattr(owner, name, None)
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
            text = getattr(owner, f"{stem}_token", None)
            if text is not None and str(text) in known:
                return known[str(text)]
        return _alike(stem, known)

    found: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        stem = re.sub(r"_(token_)?(id|index|idx)$", "", name)
        if stem == name or isinstance(value, dict | list | str | bool | float) or name.startswith(("num_", "altup_")):
            continue
        if stem in _STANDARD:
            found[name] = getattr(tokenizer, f"{stem}_token_id", None)
            continue
        if value is None and own(stem) is None:
            continue
        chosen = own(stem)
        found[name] = chosen if chosen is not None else known[next(spare)]
    return found


def _alike(stem: str, known: dict[str, int]) -> int | None:
    """The special token whose words are those of `stem`."""
    words = set(re.split(r"_", stem.lower()))
    same = [("start", "begin", "bos", "boi"), ("end", "eos", "eoi")]
    wanted = {next((group[0] for group in same if word in group), word) for word in words}
    for token, number in known.items():
        if token[:1] in "<[":
            parts = {part for part in re.split(r"[^a-z0-9]+", token.lower()) if part}
            parts = {next((group[0] for group in same if part in group), part) for part in parts} - {"of", "token"}
            if parts == wanted - {"of", "token"}:
                return number
    return None


def make(model_type: str, layers: int = LAYERS, seed: int = 0) -> Made:
    """In eval mode with sdpa attention, weights drawn large.

    **Errors:** `UnmadeError` with the reason.
    """
    own = WANTED.get(model_type, {})
    entries = dict(own.get("config", {}))
    default = answering_config(default_configuration(model_type, **own.get("default", {})))
    kind = processor_class(model_type, own.get("processor"))
    draft = small_configuration(default, 1000, layers, entries)
    if draft.to_dict().get("image_grid_pinpoints"):
        side = image_side(draft)
        entries["image_grid_pinpoints"] = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    parts = make_parts(
        kind, model_type, draft, own.get("parts", {}), own.get("tokens", ()), own.get("named"), own.get("classes")
    )
    processor = make_processor(kind, parts, draft, **own.get("options", {}))
    processor.chat_template = template(processor, own.get("placeholder", {}))
    # Some processors leave templates to their tokenizers.
    processor.tokenizer.chat_template = processor.chat_template
    size = -(-len(processor.tokenizer) // 8) * 8 + 8
    if "vocabulary_map" in default.to_dict():
        entries["vocabulary_map"] = processor.tokenizer.get_vocab()
    ids = {name: processor.tokenizer.convert_tokens_to_ids(text) for name, text in own.get("ids", {}).items()}
    config = small_configuration(_with_ids(draft, processor), size, layers, entries | ids)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(type(config))(config)
        enlarge(model)
    return fitted(Made(model.eval(), processor))


def fitted(made: Made) -> Made:
    """With the count of tokens for each input that the model makes features of: what the processor counts is set.

    Published processors carry the count of their models; this one's parts have been made small one by one.
    """
    for _ in range(2):
        said = _mismatch(made)
        if said is None:
            return made
        if not _recounted(made, *said):
            return made
    return made


def _mismatch(made: Made) -> tuple[int, int] | None:
    """(tokens, features) of an image, where the model says that they differ."""
    try:
        first_forward(made)
    except Exception as error:
        for said in _MISMATCHES:
            found = re.search(said, str(error))
            if found and int(found["tokens"]):
                return int(found["tokens"]), int(found["features"])
    return None


def _recounted(made: Made, tokens: int, features: int) -> bool:
    """Set the one number of the processor by which tokens come out as many as features."""
    for ratio in (features / tokens, features / WIDTH / tokens):
        for owner in (made.processor, getattr(made.processor, "image_processor", None)):
            for name in _counts(owner):
                before = getattr(owner, name)
                for power in (1.0, 0.5):
                    after = before * ratio**power
                    if after < 1 or abs(after - round(after)) > 1e-6 or round(after) == before:
                        continue
                    setattr(owner, name, round(after))
                    if _mismatch(made) is None:
                        return True
                    setattr(owner, name, before)
    return _added(made, features - tokens)


def _added(made: Made, more: int) -> bool:
    """Where the processor has a count of tokens that come besides those of patches: whether `more` of them fit."""
    for name in (name for name in _counts(made.processor) if "additional" in name):
        before = getattr(made.processor, name)
        setattr(made.processor, name, before + more)
        if before + more >= 0 and _mismatch(made) is None:
            return True
        setattr(made.processor, name, before)
    return False


def _counts(owner: Any) -> list[str]:
    names = [name for name in dir(owner) if re.search(r"token|seq|patch|factor|length", name) and name[0] != "_"]
    return [name for name in names if type(getattr(owner, name, None)) is int and not name.endswith("_id")]


def first_forward(made: Made) -> Any:
    """The model's output for one noise image, or sound."""
    processor = made.processor
    rng = np.random.default_rng(0)
    if getattr(processor, "image_processor", None) is not None:
        given, kind = {"images": [Image.fromarray(rng.integers(0, 256, (180, 240, 3), dtype=np.uint8))]}, "image"
    elif getattr(processor, "video_processor", None) is not None:
        given, kind = {"videos": [rng.integers(0, 256, (4, 180, 240, 3), dtype=np.uint8)]}, "video"
    else:
        rate = (getattr(processor, "feature_extractor", None) or processor.audio_processor).sampling_rate
        given, kind = {"audio": [rng.uniform(-0.9, 0.9, rate // 2).astype(np.float32)]}, "audio"
    content = [{"type": kind}, {"type": "text", "text": "Is it red?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    taken = inspect.signature(type(processor).__call__).parameters
    if kind == "video" and "videos" not in taken:
        given = {"images": given["videos"]}
    known = inspect.signature(type(made.model).forward).parameters
    more = {"return_mm_token_type_ids": True} if "mm_token_type_ids" in known else {}
    raw = processor(text=[text], return_tensors="pt", **given, **more)
    with torch.no_grad():
        return made.model(**{name: value for name, value in raw.items() if name in known}, use_cache=False)


def _with_ids(config: PreTrainedConfig, processor: ProcessorMixin) -> PreTrainedConfig:
    def inner(one: PreTrainedConfig) -> dict[str, Any]:
        held = {name: value for name, value in one.to_dict().items() if not name.endswith("per_layer_config")}
        for name, value in held.items():
            part = getattr(one, name, None) if isinstance(value, dict) else value
            if isinstance(part, PreTrainedConfig):
                held[name] = inner(part) | {"model_type": part.model_type}
        return held | token_ids(one, processor)

    return type(config)(**{k: v for k, v in inner(config).items() if k not in ("model_type", "transformers_version")})


def template(processor: ProcessorMixin, placeholders: dict[str, str]) -> str:
    """Turns between marks, an input as its placeholder."""
    written = placeholders or {kind: str(getattr(processor, f"{kind}_token", f"<{kind}>")) for kind in KINDS}
    known = processor.tokenizer.get_vocab()
    around = ("<|begin_of_video|>", "<|end_of_video|>")
    if known.keys() >= set(around) and "video" in written:
        written["video"] = written["video"].join(around)
    parts = "".join(
        f"{{% elif part['type'] == '{kind}' %}}{{{{ {(token and token + chr(10))!r} }}}}"
        for kind, token in written.items()
    )
    return (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        f"{parts}{{% endif %}}{{% endfor %}}{{{{ '<|im_end|>\n' }}}}{{% endfor %}}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
