"""Law: behind LLaVA's tower every kind of decoder gives the effects of one plain masked forward per variant, or says
what cannot be done."""

import pytest
import torch
from tests.support.factories import example
from tests.support.factories_decoders import DECODERS, llava_with
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, job, outcomes, zero

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Variant
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.frame import layer_output
from chiasm.models.view import ModelView

UNGUARDED = LockstepExecutor(guard=Guard(enabled=False))
# XGLM's own class overflows in float64.
SINGLE = {"xglm"}
REFUSED = {
    "bamba": "return more than their states",
    "falcon alibi": "ALiBi",
    "falcon_h1": "beside attention",
    "gpt_neo": "--executor reference",
    "mpt": "marks what is hidden",
}
"""What is said of those whose cuts cannot ride along in one walk."""
BY_DEFAULT = {"gpt2", "gptj", "gemma2", "bloom", "mpt", "gpt_neo", "mistral", "qwen3_moe", "xglm", "lfm2"}
EVERY = [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.heavy) for name in DECODERS]


def view_with(decoder):
    dtype = torch.float32 if decoder in SINGLE else torch.float64
    return ModelView(*llava_with(decoder, dtype), name=decoder), dtype


def variants(view, found):
    """Cuts and averages of all spans, and closed branches of layers that have one, early, late and everywhere."""
    windows = [(0, 1), (1, 3), (view.n_layers - 1, view.n_layers), (0, view.n_layers)]
    texts = ("image->question", "image->last", "question->last", "image.object->question", "mean:image->question")
    rows = [int(p) for p in found.spans["question"]]
    branches = [Variant(f"{part}{w}", (zero(*w, part, rows),)) for part in ("attention", "mlp") for w in windows[:2]]
    return [cut(found, text, *window) for text in texts for window in windows] + branches


@pytest.mark.parametrize("decoder", EVERY)
def test_another_decoder_behind_llava(decoder):
    view, dtype = view_with(decoder)
    with no_upcasts(dtype):
        found = view.encode(example("llava"))
        jobs = [job(found, *variants(view, found))]
        if decoder in REFUSED:
            with pytest.raises(ChiasmError, match=REFUSED[decoder]) as refused:
                outcomes(LockstepExecutor(), view, jobs)
            if "--executor reference" in str(refused.value):
                alone = job(found, *(one for one in variants(view, found) if "->" in str(one.name)))
                plain = outcomes(ReferenceExecutor(), view, [alone])[0]
                assert float((plain.full[1:] - plain.full[0]).abs().max()) > 1e-3
            return
        packed, plain = outcomes(UNGUARDED, view, jobs)[0], outcomes(ReferenceExecutor(), view, jobs)[0]
        with torch.no_grad():
            own = torch.log_softmax(view.model(**found.inputs, use_cache=False).logits[:, -1], dim=-1)
    allowed = 1e-4 if dtype == torch.float32 else 1e-9
    assert difference(packed, plain) <= allowed
    assert float((plain.full[0] - own).abs().max()) <= allowed
    effects = (plain.full[1:] - plain.full[0]).abs().amax(dim=(1, 2))
    assert float(effects.max()) > 0.1, "cuts must matter, or equality is empty"
    assert int((effects > 1e-3).sum()) >= 10


@pytest.mark.parametrize("decoder", EVERY)
@torch.no_grad()
def test_its_last_state_reads_as_its_logits(decoder):
    """Whatever is asked of attention, states can be read: through the norm and the head as the model itself does."""
    view, dtype = view_with(decoder)
    states = []
    hook = view.layers[-1].register_forward_hook(lambda layer, args, output: states.append(layer_output(output)))
    with no_upcasts(dtype), hook:
        found = view.encode(example("llava"))
        logits = view.model(**found.inputs, use_cache=False).logits
        read = view.unembed(states[0])
    assert float((read - logits).abs().max()) <= (1e-4 if dtype == torch.float32 else 1e-9)
