"""What was loaded, in one line and as plain values for the manifest."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, final

from torch import nn

from chiasm.models.checkpoint.adapters import describe_adapters
from chiasm.models.checkpoint.processors import backend, parts_of, seen_as
from chiasm.models.checkpoint.weights import unnamed_rows
from chiasm.models.view import ModelView

_OF_THIS_COPY: Final = frozenset({"transformers_version", "dtype", "architectures"})


@final
@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What a study computes on. `template`: `own`, or `written by chiasm` where the checkpoint has none.

    `image_processor`: what computes on pixels, which differs in the last bits; `sized`: how images are brought to
    size. `unnamed_rows`: rows of the output head that belong to no token. `adapter`: empty where there is none.
    `settings`: hash of configuration and processor, in which an entry that contradicts no weight shows (a rotary base).
    """

    model: str
    parameters: int
    dtype: str
    layers: int
    template: str
    processor: str
    image_processor: str
    sized: str
    adapter: str
    unnamed_rows: int
    settings: str

    def __str__(self) -> str:
        images = f"images {self.image_processor}: {self.sized}" if self.image_processor else ""
        parts = (
            self.model,
            f"{_short(self.parameters)} parameters in {self.dtype}",
            f"{self.layers} layers",
            f"chat template {self.template}",
            f"processor {self.processor}",
            images,
            f"adapter {self.adapter}" if self.adapter else "",
            f"{self.unnamed_rows} rows of the vocabulary without a token" if self.unnamed_rows else "",
        )
        return ", ".join(part for part in parts if part)

    def facts(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def describe(view: ModelView) -> LoadedModel:
    """What `view` is."""
    dtype = str(view.dtype).removeprefix("torch.")
    stored = view.origin.stored
    return LoadedModel(
        model=type(_base(view)).__name__,
        parameters=sum(one.numel() for one in view.model.parameters()),
        dtype=dtype if stored in ("", dtype) else f"{dtype} (stored in {stored})",
        layers=view.n_layers,
        template="own" if view.processor.chat_template else "written by chiasm",
        processor="own" if view.origin.own_processor else "put together by transformers",
        image_processor=backend(view.processor),
        sized=seen_as(view.processor),
        adapter=describe_adapters(view.model),
        unnamed_rows=unnamed_rows(view.model, view.tokenizer),
        settings=_settings(view),
    )


def _settings(view: ModelView) -> str:
    """SHA-256 (first 16 hex digits) of every entry of configuration and processor, less what names this copy of it."""
    parts = [view.config, *(part for part, _ in parts_of(view.processor))]
    held = [_named(json.loads(part.to_json_string())) for part in parts]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]


def _named(entries: Any) -> Any:
    if isinstance(entries, dict):
        kept = {key: value for key, value in entries.items() if key not in _OF_THIS_COPY and not key.startswith("_")}
        return {key: _named(value) for key, value in kept.items()}
    return [_named(value) for value in entries] if isinstance(entries, list) else entries


def _base(view: ModelView) -> nn.Module:
    return view.model.get_base_model() if view.is_peft else view.model


def _short(count: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"
