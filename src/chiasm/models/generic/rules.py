"""What the rules leave open, found on the model itself and kept as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class GenericRules:
    """The rules that a model answers.

    Inputs: `modalities`: what it perceives; `without`, `types`, `nested`: what its processor is not given of the usual
    options, whether it is asked for the kinds of tokens, and whether images go in as those of one prompt.
    `renames`: what the processor calls an input otherwise (`videos` that go in as `images`).
    `placeholders`: what the template writes for an input, by kind. `ids`: the tokens that stand for it;
    `distinct`: the kinds whose ids no other token of a prompt had.
    `located`: whether the processor says where it wrote an input out. `all_inputs`: the forward takes all that the
    processor makes, whatever it names. `switches`: options of the forward that are given with all inputs. `rows`:
    inputs with one entry for each token, and their value at a text token. `joins`: the axis along which inputs of two
    examples are put together, where that is not the first. `max_images`: None is any number.

    Places: `places`: the rule for the tokens of an image; `per_tile`: how many tokens one of several tiles has (0:
    there are no tiles).

    The decoder: `causal`, `layers_return_tuples`, `layer_extras` (what they return besides), `key_arguments` (with
    one entry for each key), `positions_from_mask`, `batches`, `alone` (kinds whose prompts are in no batch), `pads`
    (inputs of other sizes go into one batch, with zeros behind them), `shares` (questions on one input in one walk).
    `scale`, `cap`: what is done to the head's output (a factor, then a soft cap). `refused`: by capability, the reason;
    `inapplicable`: what the model is not built for, the same way.
    """

    modalities: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    types: bool = False
    nested: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    distinct: tuple[str, ...] = ()
    located: bool = True
    all_inputs: bool = False
    switches: Mapping[str, bool] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    joins: Mapping[str, int] = field(default_factory=dict)
    max_images: int | None = None
    places: str = "unknown"
    per_tile: int = 0
    causal: bool = True
    layers_return_tuples: bool = False
    layer_extras: int = 0
    key_arguments: tuple[str, ...] = ()
    positions_from_mask: bool = True
    batches: bool = True
    alone: tuple[str, ...] = ()
    pads: bool = False
    shares: bool = True
    scale: float = 1.0
    cap: float | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    inapplicable: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Self:
        """What `as_json` gave, after a way through JSON."""
        tuples = {name: tuple(held[name]) for name in ("modalities", "distinct", "without", "key_arguments", "alone")}
        return cls(**{**held, **tuples, "ids": {kind: tuple(ids) for kind, ids in held["ids"].items()}})
