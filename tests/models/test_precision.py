"""Half-precision weights compute in float32, one layer at a time, wherever a view is used; and remember what passed."""

import copy

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from peft import LoraConfig, get_peft_model
from tests.support.factories import build, example
from tests.support.runs import cut, difference, encoded, job, outcomes

from chiasm.core.errors import ChiasmError
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.rounding import TOLERANCE, Distance, allowance, rounding, with_tf32
from chiasm.models.generation import generate
from chiasm.models.inside.attention_rows import attention_rows
from chiasm.models.inside.rerun import Rerun
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.loading import wrap
from chiasm.models.observe import observe
from chiasm.models.precision import Precision
from chiasm.models.skipping.timing import peak_bytes
from chiasm.models.view import ModelView


def pair(family="llava", layers=4):
    """A model in bfloat16 as it is by default, and a copy with the same weights in float32."""
    model, processor = build(family, dtype=torch.bfloat16, layers=layers)
    return ModelView(model, processor), ModelView(copy.deepcopy(model).float(), processor)


def walked(view):
    found = encoded(view)
    return outcomes(LockstepExecutor(), view, [job(found, cut(found, "image->last", 0, 4))])[0]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float64, Precision(torch.float64, torch.float64)),
        (torch.float32, Precision(torch.float32, torch.float32)),
        (torch.bfloat16, Precision(torch.bfloat16, torch.float32)),
        (torch.float16, Precision(torch.float16, torch.float32)),
    ],
)
def test_what_is_computed_by_default(dtype, expected):
    view = ModelView(*build("llava", dtype=dtype))
    assert view.precision == expected
    assert view.as_served().precision == Precision(dtype, dtype)
    assert view.encode(example()).inputs["pixel_values"].dtype == expected.compute


def test_quantised_weights_are_computed_with_as_they_are_served():
    view, _ = pair()
    view.model.config.quantization_config = {"quant_method": "bitsandbytes"}
    assert ModelView(view.model, view.processor).precision == Precision(torch.bfloat16, torch.bfloat16)
    assert allowance(view.as_served(), view.encode(example()).inputs) == TOLERANCE[torch.bfloat16]


def test_a_model_in_memory_computes_as_asked():
    model, processor = build("llava", dtype=torch.bfloat16)
    assert wrap(model, processor, dtype="bfloat16").dtype == torch.bfloat16
    assert wrap(model, processor, dtype="float32").dtype == torch.float32
    with pytest.raises(ChiasmError, match=r"float64.*weights are in bfloat16.*float32 or bfloat16"):
        wrap(model, processor, dtype="float64")


def test_all_that_is_read_is_as_in_float32():
    view, wide = pair()
    found = []
    for one in (view, wide):
        prompt, forced = one.encode(example()), one.encode(example(), answer=" dark red")
        states = []
        observe(one, (), [prompt], ["image", "last"], lambda seen, into=states: into.append(seen.states))
        rerun = Rerun(one, prompt, (5, 6))
        given = rerun.states[None].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(rerun(given).sum(), given)
        lens, rows = one.unembed(states[1]), []
        queries = [[0, prompt.length - 1]]
        attention_rows(one, [prompt], queries, lambda layer, index, weights, into=rows: into.append(weights))
        read = (torch.stack(states), torch.stack(rows), gradient, lens.detach())
        found.append((*read, answer_logprobs(one, [forced])[0]))
        assert generate(one, [prompt], 4)[0].tokens == generate(wide, [wide.encode(example())], 4)[0].tokens
    for raised, expected in zip(*found, strict=True):
        assert raised.dtype == torch.float32
        assert torch.allclose(raised, expected, rtol=1e-5, atol=1e-5)


def test_one_layer_is_raised_at_a_time_also_for_gradients():
    """A deeper model needs no more memory than its activations: layers of 15,000 weights would show."""
    peaks = []
    for layers in (4, 12):
        view, _ = pair(layers=layers)
        rerun = Rerun(view, view.encode(example()), (5, 6))

        def differentiate(rerun=rerun):
            given = rerun.states[None].clone().requires_grad_(True)
            torch.autograd.grad(rerun(given).sum(), given)

        plain = peak_bytes(view, lambda rerun=rerun: rerun(rerun.states[None].detach()))
        peaks.append((peak_bytes(view, differentiate), plain))
    weights = 4 * sum(p.numel() for p in view.layers[0].parameters())
    (short, short_plain), (deep, deep_plain) = peaks
    wide = Rerun(pair(layers=12)[1], view.encode(example()), (5, 6))

    def reference():
        given = wide.states[None].clone().requires_grad_(True)
        torch.autograd.grad(wide(given).sum(), given)

    assert deep_plain - short_plain < weights
    assert deep - short < peak_bytes(view, reference) + 2 * weights


@pytest.mark.parametrize("where", ["memory", "disk", "layers on disk"])
def test_offloaded_weights_are_raised_too(where, tmp_path):
    view, wide = pair()
    if where == "memory":
        cpu_offload(view.model, execution_device="cpu")
    elif where == "disk":
        disk_offload(view.model, str(tmp_path), execution_device=torch.device("cpu"))
    else:
        layers = {name: "disk" for name, module in view.model.named_modules() if module in set(view.layers)}
        text = (f"language_model.{name}" for name in ("embed_tokens", "norm", "rotary_emb"))
        others = {f"model.{name}": "cpu" for name in ("vision_tower", "multi_modal_projector", *text)}
        places = layers | others | {"lm_head": "cpu"}
        dispatch_model(view.model, places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    offloaded = ModelView(view.model, view.processor)
    assert offloaded.precision.raised
    assert difference(walked(offloaded), walked(wide)) < 1e-4
    states = torch.randn(3, view.width)
    assert torch.equal(offloaded.unembed(states), wide.unembed(states)), "also where the head is called alone"
    assert next(offloaded.layers[0].parameters()).device.type == "meta"


def test_adapters_are_raised_too():
    model, processor = build("llava", dtype=torch.bfloat16)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    plain = copy.deepcopy(wrapped).float()
    assert difference(walked(ModelView(wrapped, processor)), walked(ModelView(plain, processor))) < 1e-4


def test_tied_embeddings_are_raised_too():
    model, processor = build("llava", dtype=torch.bfloat16)
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    wide = copy.deepcopy(model).float()
    view = ModelView(model, processor)
    assert difference(walked(view), walked(ModelView(wide, processor))) < 1e-4
    assert view.head.weight is view.embeddings.weight


def test_the_guard_does_not_pay_twice_for_the_same_weights():
    view, _ = pair()
    guards = [Guard() for _ in range(3)]
    found = encoded(view)
    work = [job(found, cut(found, "image->last", 0, 4))]
    for number, guard in enumerate(guards):
        if number == 2:
            with torch.no_grad():
                view.layers[1].mlp.down_proj.weight[3] += 0.5
        LockstepExecutor(guard=guard).run(view, work)
    first, second, changed = guards
    assert first.seconds > 0
    assert first.reused == 0
    assert second.seconds == 0
    assert second.reused == 1
    assert (second.largest, second.allowed) == (first.largest, first.allowed)
    assert changed.reused == 0
    assert changed.seconds > 0


@pytest.mark.parametrize("change", ["data", "module", "hook", "served"])
def test_the_guard_notices_what_changed(change):
    view, _ = pair()
    found = encoded(view)
    work = [job(found, cut(found, "image->last", 0, 4))]
    LockstepExecutor().run(view, work)
    if change == "data":
        view.layers[0].mlp.down_proj.weight.data.mul_(0.5)
    elif change == "module":
        view.layers[0].mlp = torch.nn.Sequential(view.layers[0].mlp)
    elif change == "hook":
        view.layers[0].mlp.register_forward_hook(lambda module, args, output: output * 0.5)
    else:
        view = view.as_served()
        work = [job(encoded(view), cut(found, "image->last", 0, 4))]
    again = Guard()
    LockstepExecutor(guard=again).run(view, work)
    assert again.reused == 0


@pytest.mark.parametrize(
    ("mean", "quantile", "taken"), [(1e-4, 1e-3, True), (5e-4, 5e-3, True), (6e-4, 1e-3, False), (1e-4, 6e-3, False)]
)
def test_tf32_is_taken_where_its_error_allows(mean, quantile, taken):
    view, _ = pair()
    found, off = with_tf32(view, {}, measured=lambda *given: Distance(mean, quantile))
    assert off == Distance(mean, quantile)
    assert found.precision.tf32 == taken
    assert not view.precision.tf32
    assert str(found.precision) == str(view.precision), "a run may go on with the other"


def test_tf32_is_set_within_and_put_back():
    view, _ = pair()
    inputs = view.encode(example()).inputs
    fast, off = with_tf32(view, inputs)
    assert off == Distance(0, 0), "there is no TF32 on a CPU, where nothing is rounded"
    assert allowance(fast, inputs) == TOLERANCE[torch.float32], "what was measured, not what may be"
    assert products_seen(fast) == ("tf32", "tf32", "ieee")
    assert products_seen(view) == ("ieee", "ieee", "ieee")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("asked", ["tf32", "bf16"])
def test_a_process_that_asks_for_rough_products_rounds_nothing_of_what_is_raised(asked):
    matmul = torch.backends.mkldnn.matmul if asked == "bf16" else torch.backends.cuda.matmul
    view, wide = pair()
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = asked
        assert products_seen(view) == ("ieee", "ieee", "ieee")
        assert asked in products_seen(wide), "a model in float32 is run as torch is set"
        assert matmul.fp32_precision == asked
    finally:
        matmul.fp32_precision = before


def products_seen(view):
    """How a layer's products are computed: of matrices and convolutions on a GPU, of matrices on the CPU."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul)
    seen = []
    handle = view.layers[0].register_forward_hook(lambda *given: seen.append([b.fp32_precision for b in backends]))
    with handle, view.readable_attention():
        view.model(**view.encode(example()).inputs)
    return tuple(seen[0])


def test_what_is_allowed_follows_what_was_measured():
    view, _ = pair()
    inputs = view.encode(example()).inputs
    assert allowance(view, inputs) == TOLERANCE[torch.float32]
    served = view.as_served()
    rough = allowance(served, inputs)
    assert rough > TOLERANCE[torch.float32]
    with torch.no_grad():
        view.head.weight *= 0.25
    fine = allowance(ModelView(view.model, view.processor).as_served(), inputs)
    assert TOLERANCE[torch.float32] < fine < rough / 2


def test_what_gives_no_numbers_measures_nothing():
    view, _ = pair()
    served, inputs = view.as_served(), view.encode(example()).inputs
    weight = view.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        before = weight.clone()
        weight.fill_(float("nan"))
        assert allowance(served, inputs) == TOLERANCE[torch.bfloat16]
        weight.copy_(before)
    assert allowance(served, inputs) == 2 * rounding(served, inputs).quantile + TOLERANCE[torch.float32]
