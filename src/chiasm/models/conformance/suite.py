"""Laws that a model must obey before its numbers mean anything: `chiasm check MODEL`.

Every law is measured on a picture of noise and questions of different length, so it needs no data and no knowledge
of the model. The table of results has a reason for each "no".
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Box, Example
from chiasm.interventions import Cut, KnockOut, Tap, Variant, Zero, centred
from chiasm.models.encoded import Encoded
from chiasm.models.executors.base import Executor, Job, Outcome, Readout
from chiasm.models.executors.guard import TOLERANCE, Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

_CUTS = ("image->question", "image->last", "question->last", "last->last", "image+question->suffix")


class Law(NamedTuple):
    """One law: `ok`, the measured `value` (largest difference where the law is an equality), and why it fails."""

    name: str
    ok: bool
    value: float | None
    reason: str


def check(view: ModelView) -> list[Law]:
    """All laws on one model, on inputs made on the spot. A law that cannot be run counts as failed."""
    laws: list[tuple[str, Callable[[ModelView, list[Encoded]], Law]]] = [
        ("spans partition the sequence", _partition),
        ("layouts account for every image token", _layouts),
        ("the reference is the model's own forward", _reference),
        ("head(norm(last state)) gives the logits", _unembedding),
        ("states are live: changing one changes the logits", _live_states),
        ("an empty cut changes nothing", _empty_cut),
        ("lockstep equals reference, one example", _alone),
        ("lockstep equals reference, questions on one image", _shared),
        ("lockstep equals reference, padded batch", _padded),
        ("hooks are undone", _hooks_undone),
    ]
    try:
        encoded = _encode(view)
    except (ChiasmError, ExampleError) as error:
        return [Law("examples can be encoded", False, None, str(error))]
    return list(_run(view, encoded, laws))


def _run(view: ModelView, encoded: list[Encoded], laws: list) -> Iterator[Law]:
    yield Law("examples can be encoded", True, None, "")
    for name, law in laws:
        try:
            yield law(view, encoded)._replace(name=name)
        except (ChiasmError, ExampleError) as error:
            yield Law(name, False, None, str(error))


def _encode(view: ModelView) -> list[Encoded]:
    """Two questions on one picture, and one on another of a different shape."""
    rng = np.random.default_rng(0)
    wide, tall = (Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((180, 240), (250, 130)))
    asked = [
        (wide, "What colour is the left half of the picture?"),
        (wide, "Is there anything here?"),
        (tall, "Which of the two is larger, the upper or the lower part of it?"),
    ]
    return [
        view.encode(Example(id=f"check-{i}", question=q, images=(image,), boxes=(Box("part", 10, 20, 60, 50),)))
        for i, (image, q) in enumerate(asked)
    ]


def _jobs(view: ModelView, encoded: list[Encoded]) -> list[Job]:
    return [Job(e, _variants(view, e), Readout(full=True)) for e in encoded]


def _variants(view: ModelView, encoded: Encoded) -> tuple[Variant, ...]:
    """Every kind of change at the first, a middle and the last layer, one layer and three layers deep."""
    found: list[Variant] = []
    depths = sorted({0, view.n_layers // 2, view.n_layers - 1})
    for width in (1, 3):
        for window in (centred(view.n_layers, width)[d] for d in depths):
            cuts = [Cut.parse(t) for t in _CUTS if all(len(encoded.spans[side]) for side in t.split("->"))]
            found += [Variant(f"{cut.text}@{window.centre}", (cut.on(encoded.spans, window),)) for cut in cuts]
            rows = tuple(int(p) for p in encoded.spans.require("question"))
            found += [Variant(f"zero {c}@{window.centre}", (Zero(window, c, rows),)) for c in ("attention", "mlp")]
    return tuple(found)


def _equal(name: str, difference: float, view: ModelView) -> Law:
    allowed = TOLERANCE[view.dtype]
    ok = difference <= allowed
    return Law(name, ok, difference, "" if ok else f"differs by {difference:.2g}, allowed {allowed:.2g}")


def _agreement(view: ModelView, encoded: list[Encoded], executor: Executor) -> Law:
    jobs = _jobs(view, encoded)
    packed = _sound(executor.run(view, jobs))
    plain = _sound(ReferenceExecutor(reuse_vision=True).run(view, jobs))
    law = _equal("", max(_distance(a, b) for a, b in zip(packed, plain, strict=True)), view)
    effect = max(float((o.logprobs - o.clean).abs().max()) for o in plain)
    if effect <= TOLERANCE[view.dtype]:
        return Law("", False, effect, "no cut has any effect on this model, so equality says nothing")
    return law


def _sound(results: list[Outcome | ExampleError]) -> list[Outcome]:
    for result in results:
        if isinstance(result, ExampleError):
            raise result
    return [r for r in results if isinstance(r, Outcome)]


def _distance(a: Outcome, b: Outcome) -> float:
    """Largest difference over the whole vocabulary, all variants, every read position."""
    assert a.full is not None
    assert b.full is not None
    return float((a.full - b.full).abs().max())


def _alone(view: ModelView, encoded: list[Encoded]) -> Law:
    return _agreement(view, encoded[:1], LockstepExecutor(guard=Guard(enabled=False)))


def _shared(view: ModelView, encoded: list[Encoded]) -> Law:
    return _agreement(view, encoded[:2], LockstepExecutor(guard=Guard(enabled=False)))


def _padded(view: ModelView, encoded: list[Encoded]) -> Law:
    return _agreement(view, encoded[1:], LockstepExecutor(guard=Guard(enabled=False)))


def _partition(view: ModelView, encoded: list[Encoded]) -> Law:
    for e in encoded:
        joined = np.concatenate(list(e.spans.top_level().values()))
        if not np.array_equal(np.sort(joined), np.arange(e.length)):
            return Law("", False, None, f"{len(joined)} positions in spans, {e.length} in the sequence")
    return Law("", True, None, "")


def _layouts(view: ModelView, encoded: list[Encoded]) -> Law:
    for e in encoded:
        covered = np.concatenate([layout.positions for layout in e.layouts]) if e.layouts else np.zeros(0)
        if not np.array_equal(np.sort(covered), e.spans["image"]):
            return Law("", False, None, f"{len(covered)} tokens have a place, {len(e.spans['image'])} are image tokens")
    return Law("", True, None, "")


@torch.no_grad()
def _reference(view: ModelView, encoded: list[Encoded]) -> Law:
    job = Job(encoded[0], (_empty(encoded[0], view),), Readout(full=True))
    with view.readable_attention():
        logits = view.model(**encoded[0].inputs, use_cache=False).logits[0, -1]
    own = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).cpu()
    found = _sound(ReferenceExecutor().run(view, [job]))[0]
    assert found.full is not None
    return _equal("", float((found.full[0, 0] - own).abs().max()), view)


def _empty(encoded: Encoded, view: ModelView) -> Variant:
    rows = tuple(int(p) for p in encoded.spans.require("question"))
    return Variant("empty", (KnockOut(centred(view.n_layers, 1)[0], rows, ()),))


def _empty_cut(view: ModelView, encoded: list[Encoded]) -> Law:
    job = Job(encoded[0], (_empty(encoded[0], view),), Readout(full=True))
    found = _sound(LockstepExecutor(guard=Guard(enabled=False)).run(view, [job]))[0]
    assert found.full is not None
    return _equal("", float((found.full[1] - found.full[0]).abs().max()), view)


@torch.no_grad()
def _unembedding(view: ModelView, encoded: list[Encoded]) -> Law:
    last = int(encoded[0].spans["last"][-1])
    job = Job(encoded[0], (_empty(encoded[0], view),), Readout(full=True), (Tap("last", (last,)),))
    found = _sound(ReferenceExecutor().run(view, [job]))[0]
    assert found.full is not None
    logits = view.unembed(found.taps["last"][-1].to(view.device))
    own = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).cpu()
    return _equal("", float((own[0] - found.full[0, 0]).abs().max()), view)


@torch.no_grad()
def _live_states(view: ModelView, encoded: list[Encoded]) -> Law:
    """A hook on a dead tensor reads nicely and means nothing: disturb each layer's output and look at the logits."""
    inputs = encoded[0].inputs

    def logits() -> Tensor:
        return view.model(**inputs, use_cache=False).logits[0, -1]

    with view.readable_attention():
        clean, dead = logits(), []
        for index, layer in enumerate(view.layers):
            handle = layer.register_forward_hook(_disturb)
            try:
                if torch.equal(logits(), clean):
                    dead.append(index)
            finally:
                handle.remove()
    return Law("", not dead, None, f"layers {dead} can be changed without any effect" if dead else "")


def _disturb(layer: nn.Module, args: object, output: object) -> object:
    if isinstance(output, tuple):
        return (output[0] * 1.5, *output[1:])
    assert isinstance(output, Tensor)
    return output * 1.5


@torch.no_grad()
def _hooks_undone(view: ModelView, encoded: list[Encoded]) -> Law:
    def state() -> tuple[list[int], list[bool]]:
        modules = list(view.model.modules())
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
        return hooks, ["forward" in m.__dict__ for m in modules]

    def logits() -> Tensor:
        with view.readable_attention():
            return view.model(**encoded[0].inputs, use_cache=False).logits

    before, training, first = state(), view.model.training, logits()
    _sound(LockstepExecutor().run(view, _jobs(view, encoded[:2])))
    _sound(ReferenceExecutor().run(view, _jobs(view, encoded[:1])))
    ok = torch.equal(first, logits()) and state() == before and view.model.training == training
    return Law("", ok, None, "" if ok else "the model is not as it was before a run")
