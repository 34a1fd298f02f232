"""Skips and plans: which work on which tokens is left out, in which layers, as frozen values with a JSON form."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from chiasm.core.errors import ChiasmError, require_one_of

SkipPart = Literal["ffn", "attention", "block", "tokens", "parallel", "parallel-blocks"]
Form = Literal["corrected", "released"]
Choice = Literal["all", "random", "least-change", "least-attention"]
Phase = Literal["prefill", "decode", "both"]
SkipSpan = Literal["image", "video", "audio", "text", "all"]
PERCEPTUAL: tuple[SkipSpan, ...] = ("image", "video", "audio")

PLAN_FILE = "plan.json"
"""Where a plan stands, in a run and beside a model's weights."""
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Work that is left out for some tokens in some layers.

    `part`: `ffn` leaves the residual stream as it was after attention; `attention` computes no query and no output of
    these rows, whose keys and values stay for others to read; `block` is both, so rows pass the layer unchanged;
    `tokens` is `block` without keys and values, so nobody sees these rows from the first layer on; `parallel` leaves
    out nothing, but lets attention and feed-forward read the same layer input; `parallel-blocks` lets every layer of
    `layers` and the one behind it read the same input, and adds what both of them add.
    `form`: `released` is what the code of Shukor & Cord 2024 does instead: `parallel` feeds the norm before attention
    to the feed-forward, `parallel-blocks` takes the mean of both outputs and of their keys and values, `ffn` adds the
    normed state where nothing should be added, `block` (of all tokens) caches the keys and values of the layer before.
    `span`: tokens found by their ids at run time. `share`: of the span's tokens, taken by `choice`: at `random`,
    those whose residual state turned least (cosine) in the layer before the first, or those that the last row paid
    least attention (mean over heads) in that layer. They are chosen once per forward and are the same in all layers.
    `phase`: `prefill` is a forward of several rows or with an empty cache, `decode` one of a single row behind it.
    """

    part: SkipPart
    span: SkipSpan
    layers: tuple[int, ...]
    share: float = 1.0
    choice: Choice = "all"
    phase: Phase = "prefill"
    seed: int = 0
    form: Form = "corrected"

    def __post_init__(self) -> None:
        kinds = {"part": SkipPart, "span": SkipSpan, "choice": Choice, "phase": Phase, "form": Form}
        for what, kind in kinds.items():
            require_one_of(f"a skip with the {what} `{getattr(self, what)}`", getattr(self, what), get_args(kind))
        if not self.layers:
            raise ChiasmError("a skip without layers", "there is nothing to leave out", "Name at least one layer")
        if list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ChiasmError(
                f"a skip in the layers {self.layers}", "they do not ascend from 0", "Give every layer once, in order"
            )
        if not 0 < self.share <= 1:
            raise ChiasmError(f"a skip of the share {self.share}", "shares lie in 0 < share <= 1", "Give such a share")
        self._check_choice()
        if self.part == "tokens":
            self._check_tokens()
        if self.part.startswith("parallel"):
            self._check_parallel()
        if self.form == "released":
            self._check_released()

    def _check_choice(self) -> None:
        if (self.share < 1) == (self.choice == "all"):
            raise ChiasmError(
                f"a skip of the share {self.share} chosen by `{self.choice}`",
                "`all` means a share of 1, and a choice means less",
                "Give both a share below 1 and how its tokens are chosen",
            )
        if self.is_adaptive and (self.layers[0] < 1 or self.phase != "prefill"):
            raise ChiasmError(
                f"tokens chosen by `{self.choice}` from layer {self.layers[0]} on, in {self.phase}",
                "the choice looks at the layer before, while the prompt is read",
                "Begin at layer 1 or later, with phase `prefill`",
            )

    def _check_parallel(self) -> None:
        if (self.span, self.share) != ("all", 1):
            raise ChiasmError(f"{self.part} for some tokens", "they are parallel for all", "Give the span `all`")
        if self.part == "parallel-blocks" and any(b == a + 1 for a, b in pairwise(self.layers)):
            asked = f"parallel blocks from the layers {self.layers}"
            found = "each of them takes the layer behind it along, and some are named themselves"
            raise ChiasmError(asked, found, "Leave a layer between two of them, as (0, 2, 4)")

    def _check_released(self) -> None:
        asked = f"the released form of a skip of `{self.part}`"
        if self.part not in ("ffn", "block", "parallel", "parallel-blocks"):
            raise ChiasmError(asked, "what it computes is unknown, or the same", "Use the corrected form")
        if self.part == "block" and ((self.span, self.share) != ("all", 1) or self.layers[0] < 1):
            found = "the layer before lends its keys and values for all tokens"
            raise ChiasmError(asked, found, "Give the span `all`, from layer 1 on")

    def _check_tokens(self) -> None:
        if self.span not in PERCEPTUAL or self.phase != "prefill" or self.layers[0] < 1:
            raise ChiasmError(
                f"dropping {self.span} tokens from layer {self.layers[0]} on, in {self.phase}",
                "perceptual tokens are dropped, while the prompt is read, after at least one layer has seen them",
                "Give the span `image`, `video` or `audio`, the phase `prefill`, and layers from 1 on",
            )
        if self.layers != tuple(range(self.layers[0], self.layers[-1] + 1)):
            raise ChiasmError(
                f"dropping tokens in the layers {self.layers}",
                "a token that is dropped does not come back",
                "Give all layers from the first one to the last of the model",
            )

    @property
    def is_adaptive(self) -> bool:
        """Whether its tokens are chosen by what the layer before its first one does."""
        return self.choice in ("least-change", "least-attention")

    def acts_in(self, phase: Phase) -> bool:
        """Whether forwards of `phase` (prefill or decode) leave something out."""
        return self.phase in (phase, "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """The model that a plan was made for. `weights`: their hash, as in the manifests of runs."""

    model_type: str
    layers: int
    width: int
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipPlan:
    """Skips made together on one model. `measured`: what the study that proposed it found (loss, shares, seconds)."""

    name: str
    model: ModelIdentity
    skips: tuple[Skip, ...] = ()
    measured: Mapping[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = self.model.layers
        for skip in self.skips:
            if skip.layers[-1] >= layers:
                found = f"it skips in layer {skip.layers[-1]}, and the model has layers 0 to {layers - 1}"
                raise self._refusal(found, "Make the plan for this model")
            if skip.part == "tokens" and skip.layers[-1] != layers - 1:
                found = f"tokens dropped at layer {skip.layers[0]} come back at layer {skip.layers[-1] + 1}"
                raise self._refusal(found, f"Drop them to the last layer, {layers - 1}")
        dropped = {layer for skip in self.skips if skip.part == "tokens" for layer in skip.layers}
        for skip in self.skips:
            if skip.is_adaptive and skip.layers[0] - 1 in dropped:
                found = f"layer {skip.layers[0] - 1} is to choose among tokens of which some are gone by then"
                raise self._refusal(found, "Drop tokens once")
        self._check_pairs()
        for phase in ("prefill", "decode"):
            whole = [skip for skip in self.skips if (skip.span, skip.share) == ("all", 1) and skip.acts_in(phase)]
            ffn, attention = (
                {layer for skip in whole if skip.part in (part, "block") for layer in skip.layers}
                for part in ("ffn", "attention")
            )
            if len(ffn & attention) == layers:
                raise self._refusal(f"it leaves no layer to compute in {phase}", "Keep at least one layer")

    def _check_pairs(self) -> None:
        for index, skip in enumerate(self.skips):
            if skip.part != "parallel-blocks":
                continue
            paired = {k for first in skip.layers for k in (first, first + 1)}
            if max(paired) >= self.model.layers:
                found = f"layer {max(paired) - 1} is the last one, with none behind it to run beside it"
                raise self._refusal(found, "Leave it out")
            others = {k for other in (*self.skips[:index], *self.skips[index + 1 :]) for k in other.layers}
            others |= {k - 1 for s in self.skips if s.is_adaptive for k in s.layers[:1]}
            if paired & others:
                found = f"layer {min(paired & others)} runs beside another and is to skip or to choose as well"
                raise self._refusal(found, "Give every layer one of both")

    def _refusal(self, found: str, todo: str) -> ChiasmError:
        return ChiasmError(f"the plan `{self.name}`", found, todo)

    def unread(self, layer: int) -> bool:
        """Whether no row ever attends in `layer`, so that nobody reads its keys and values either."""
        return any(
            skip.part in ("attention", "block") and skip.span == "all" and skip.share == 1 and skip.phase == "both"
            for skip in self.skips
            if layer in skip.layers
        )

    def to_json(self) -> str:
        """The plan as JSON text; `from_json` gives an equal plan back."""
        skips = [asdict(skip) for skip in self.skips]
        body = {"format": _FORMAT, "name": self.name, "model": asdict(self.model), "skips": skips}
        return json.dumps(body | {"measured": dict(self.measured)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SkipPlan":
        """The plan that `to_json` wrote.

        **Errors:** `ChiasmError` for text that is no plan, or one that contradicts itself.
        """
        try:
            body: dict[str, Any] = json.loads(text)
            if body["format"] != _FORMAT:
                raise ValueError(f"its format is {body['format']}, and {_FORMAT} is known")
            skips = tuple(Skip(**(skip | {"layers": tuple(skip["layers"])})) for skip in body["skips"])
            model = ModelIdentity(**body["model"])
            return cls(name=body["name"], model=model, skips=skips, measured=body.get("measured", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ChiasmError("read a plan", f"this is none: {reason}", "Give a plan.json that chiasm wrote") from error


def phase_of(span: SkipSpan) -> Phase:
    """When tokens of `span` come: perceptual ones with the prompt, others while decoding as well."""
    return "prefill" if span in PERCEPTUAL else "both"
