"""One vocabulary over an untouched transformers model: its parts by name, and examples as its inputs."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.core.positions import Spans
from chiasm.interventions import Component
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.batches import encode_batch
from chiasm.models.encoding.encode import append_tokens, encode, moved
from chiasm.models.families import Family, family_of
from chiasm.models.origin import Origin
from chiasm.models.parts import (
    ATTENTION,
    CROSS_ATTENTION,
    MLP,
    OUTPUT_PROJECTION,
    TOKEN_MIXER,
    LayerKind,
    decoder_stack,
    final_norm,
    has_part,
    kind_of,
    part_of,
)
from chiasm.models.precision import Precision, is_rounded
from chiasm.models.remembered import Remembered
from chiasm.models.weights import float32_products, raised_model, ready


class ModelView:
    """A transformers model with its processor, and names for the parts that studies touch.

    `model` is never changed: hooks live as long as one call. `decoder`, `layers`, `final_norm`, `head`, `embeddings`,
    `vision_tower` (None where there is none), `towers` (all that perceives) and `projector` are the model's own
    modules, found through transformers' accessors; what a family does differently stands in its family file. `family`:
    for an architecture that is not listed (`adopting.adopt`). `precision`: half-precision weights are raised to float32
    while they are used, unless it is `Precision.served`. `remembered`: what was measured of it, and need not be again.

    **Errors:** `ChiasmError` for an architecture without a family, with the nearest one named.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        name: str = "in memory",
        *,
        family: Family | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.name = name
        self.origin = Origin()
        self.config: Any = model.config
        self.family: Family = family_of(model.config) if family is None else family
        self.decoder, self.layers = decoder_stack(model)
        self.kinds: tuple[LayerKind, ...] = tuple(kind_of(layer) for layer in self.layers)
        self.final_norm = final_norm(self.decoder)
        self.head: nn.Module = self.family.head(model)
        self.embeddings: nn.Module = model.get_input_embeddings()
        self.vision_tower: nn.Module | None = self.family.vision_tower(model)
        self.towers: tuple[nn.Module, ...] = self.family.towers(model)
        self.projector: nn.Module | None = self.family.projector(model)
        self.precision = Precision.of(model) if precision is None else precision
        self.remembered = Remembered(model)
        self.changes_logits = _changes_logits(self)

    @property
    def text_config(self) -> Any:
        return self.config.get_text_config(decoder=True)

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def width(self) -> int:
        return int(self.text_config.hidden_size)

    @property
    def n_heads(self) -> int:
        """Attention heads (of queries) in each decoder layer; the most of any where layers differ in it."""
        return max(int(layer.num_attention_heads) for layer in self.layer_configurations())

    def layer_configurations(self) -> list[Any]:
        """The decoder's configuration of every layer; one for all where layers do not differ in their sizes."""
        config = self.text_config
        varied = getattr(config, "is_heterogeneous", False)
        return [config.per_layer_config[index] for index in range(self.n_layers)] if varied else [config]

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the token embeddings (offloaded weights live on `meta` between calls)."""
        device = cast(Tensor, self.embeddings.weight).device
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def dtype(self) -> torch.dtype:
        """The type that it computes in."""
        return self.precision.compute

    def in_precision(self, precision: Precision) -> Self:
        """The same model, computing as `precision` says; its weights are shared."""
        other = copy.copy(self)
        other.precision = precision
        return other

    def as_served(self) -> Self:
        """The same model, computing as transformers runs it: what is timed, and what is trained."""
        return self.in_precision(Precision.served(self.model))

    def cast(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """`inputs`, encoded for another precision of the same model, in the type that this one computes in."""
        return {name: value.to(self.dtype) if is_rounded(value) else value for name, value in inputs.items()}

    @property
    def is_peft(self) -> bool:
        """Whether PEFT wraps the model (its base model then owns the forward signature)."""
        return has_part(self.model, "base_model") and callable(getattr(self.model, "get_base_model", None))

    @property
    def attention_implementation(self) -> str:
        """`sdpa` or `eager` while `readable_attention` is open."""
        return self.text_config._attn_implementation

    @property
    def tower_width(self) -> int:
        """The width that the vision tower computes in: that of its layers' norms, whatever its configuration says."""
        assert self.vision_tower is not None, "asked of models with a vision tower"
        stacks = [module for module in self.vision_tower.modules() if isinstance(module, nn.ModuleList)]
        vectors = [p for stack in stacks[:1] for p in stack.parameters() if p.ndim == 1]
        return len(vectors[0]) if vectors else self.width

    def unread_tower_parameters(self) -> set[int]:
        """Ids of the parameters that lie behind the deepest tower layer whose states the projector is given.

        They get no gradient from an answer. Towers whose configuration names no layer are read to their end.
        """
        chosen = getattr(self.config, "vision_feature_layer", None)
        assert self.vision_tower is not None, "asked of models with a vision tower"
        stacks = [module for module in self.vision_tower.modules() if isinstance(module, nn.ModuleList)]
        if chosen is None or not stacks:
            return set()
        depths = [chosen] if isinstance(chosen, int) else list(chosen)
        # Hidden state k is the output of layer k - 1, and -1 the last one's.
        deepest = max(depth if depth >= 0 else len(stacks[0]) + 1 + depth for depth in depths)
        behind = {id(p) for layer in stacks[0][deepest:] for p in layer.parameters()}
        norms = [m for name, m in self.vision_tower.named_modules() if name.rpartition(".")[2] == "post_layernorm"]
        return behind | {id(p) for norm in norms for p in norm.parameters()}

    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) of names, dtypes, shapes and bytes of all weights, in the order of their names.

        Independent of how the checkpoint is split into files. Offloaded weights count with name and shape alone.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            if tensor.device.type != "meta":
                digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    @contextmanager
    def readable_attention(self) -> Iterator[None]:
        """Evaluation mode, the view's precision, and an attention implementation whose masks can be read.

        Every forward of a study runs inside; all is put back at the end. Flash and flex attention pass no mask to the
        layers, so they give way to sdpa (eager where attention scores are soft-capped, which sdpa cannot do).
        """
        with ExitStack() as stack:
            stack.callback(self.model.train, self.model.training)
            self.model.eval()
            if self.attention_implementation not in ("sdpa", "eager"):
                capped = getattr(self.text_config, "attn_logit_softcapping", None) is not None
                stack.enter_context(attending_by(self.decoder, "eager" if capped else "sdpa"))
            if self.precision.raised:
                models = (self.model, self.model.get_base_model()) if self.is_peft else (self.model,)
                stack.enter_context(raised_model(models, self.layers, self.head, self.embeddings))
                stack.enter_context(float32_products(tf32=self.precision.tf32))
            yield

    @contextmanager
    def raised(self, *modules: nn.Module) -> Iterator[None]:
        """The weights of `modules` in the view's precision, for calling them on their own."""
        within = [inner for module in modules for inner in module.modules()]
        with ready(within, raise_weights=self.precision.raised):
            yield

    @contextmanager
    def frozen_parameters(self) -> Iterator[None]:
        """No parameter asks for a gradient; those that did ask again at the end."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def has_attention(self, layer: nn.Module) -> bool:
        """Whether the layer's token mixer is self-attention."""
        return any(has_part(layer, name) for name in ATTENTION)

    def mixes_beside_attention(self, layer: nn.Module) -> bool:
        """Whether a layer with self-attention moves information between positions in a second way as well."""
        return self.has_attention(layer) and any(has_part(layer, name) for name in TOKEN_MIXER)

    def attention_of(self, layer: nn.Module) -> nn.Module:
        """The attention branch of a decoder layer."""
        return part_of(layer, ATTENTION, "attention branch")

    def mixer_of(self, layer: nn.Module) -> nn.Module:
        """The branch of a decoder layer that moves information between positions, attention or not."""
        return part_of(layer, ATTENTION + CROSS_ATTENTION + TOKEN_MIXER, "token mixer")

    def output_projection_of(self, layer: nn.Module) -> nn.Module:
        """The matrix of the attention branch that reads the heads' outputs, one head beside the other."""
        return part_of(self.attention_of(layer), OUTPUT_PROJECTION, "output projection")

    def has_branch(self, layer: nn.Module, component: Component) -> bool:
        """Whether a decoder layer has a branch that mixes tokens (`attention`), or one of feed-forward (`mlp`)."""
        names = (*ATTENTION, *CROSS_ATTENTION, *TOKEN_MIXER) if component == "attention" else (*MLP, "fc2")
        return any(has_part(layer, name) for name in names)

    def has_mlp(self, layer: nn.Module) -> bool:
        """Whether the feed-forward branch is a module (OPT keeps its matrices in the layer itself)."""
        return any(has_part(layer, name) for name in MLP)

    def mlp_of(self, layer: nn.Module) -> nn.Module:
        """The feed-forward branch of a decoder layer."""
        return part_of(layer, MLP, "feed-forward branch")

    def feed_forward_of(self, layer: nn.Module) -> tuple[nn.Module, ...]:
        """The modules that hold the feed-forward weights of a decoder layer: the branch, or OPT's two matrices."""
        if self.has_mlp(layer):
            return (self.mlp_of(layer),)
        return tuple(part_of(layer, (name,), "feed-forward branch") for name in ("fc1", "fc2"))

    def encode(
        self,
        example: Example,
        *,
        instruction: str = DEFAULT_INSTRUCTION,
        answer: str | None = None,
        ends: bool = False,
    ) -> Encoded:
        """The example as this model takes it, and its spans. `answer` is teacher-forced after the prompt.

        `ends`: with the end of sequence behind it.

        **Errors:** `ExampleError` for a broken image, a question that does not fit the context, ...
        """
        return encode(
            self.processor,
            self.family,
            self.config,
            example,
            instruction=instruction,
            answer=answer,
            ends=ends,
            device=self.device,
            dtype=self.dtype if self.family.casts_inputs else self.precision.weights,
        )

    def append_tokens(self, encoded: Encoded, tokens: Sequence[int]) -> Encoded:
        """The example with text tokens behind it, as teacher forcing feeds them; its spans stay as they are."""
        inputs = append_tokens(
            {name: moved(value, "cpu") for name, value in encoded.inputs.items()}, tokens, self.family
        )
        return replace(
            encoded,
            inputs={name: moved(value, self.device) for name, value in inputs.items()},
            spans=Spans(encoded.length + len(tokens), dict(encoded.spans)),
        )

    def collate(self, encoded: Sequence[Encoded]) -> tuple[dict[str, Any], list[int]]:
        """Several examples as one left-padded batch, and the number of padding positions before each.

        One example is passed through as it is: `inputs` are then the very ones of `encode`.
        """
        if len(encoded) == 1:
            return dict(encoded[0].inputs), [0]
        inputs = encode_batch(self.processor, self.family, self.config, encoded, device=self.device)
        length = inputs["input_ids"].shape[1]
        self.family.require_batchable(encoded, self.config)
        if self.family.positions_from_mask:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        return inputs, [length - e.length for e in encoded]

    def unembed(self, states: Float[Tensor, "*n D"], *, normed: bool = True) -> Float[Tensor, "*n N"]:
        """Logits that the head gives for residual states (the logit lens).

        `normed` applies the final norm first, as the model does; without it this is the form released by Zhang et al.
        2025. Soft-capping is applied as the model applies it.
        """
        self.family.require_can("lens", "Leave out what reads states through the head")
        with self.raised(self.head, self.final_norm):
            logits = self.head(self.final_norm(states) if normed else states)
        return self.family.adjusted_logits(logits, self.text_config) if self.changes_logits else logits


@contextmanager
def attending_by(module: nn.Module, implementation: str) -> Iterator[None]:
    """Within: `module` attends by the attention function that transformers calls `implementation`."""
    before = module.config._attn_implementation
    module.set_attn_implementation(implementation)
    try:
        yield
    finally:
        module.set_attn_implementation(before)


@torch.no_grad()
def _changes_logits(view: ModelView) -> bool:
    """Whether the model changes its head's output as its configuration says: asked of the model, on a few words.

    Classes that wrap a decoder need not do what the decoder's own class does (LLaVA around Gemma 2 caps no logits).
    """
    declared = getattr(view.text_config, "final_logit_softcapping", None) is not None
    if not declared or type(view.family).adjusted_logits is not Family.adjusted_logits:
        return True
    own: list[Tensor] = []
    words = view.tokenizer("What is this?", add_special_tokens=False, return_tensors="pt").to(view.device)
    given = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
    with view.readable_attention(), view.head.register_forward_hook(lambda head, args, output: own.append(output)):
        logits = view.model(**given, use_cache=False).logits
    return not torch.equal(own[-1].to(logits.dtype).reshape(logits.shape), logits)
