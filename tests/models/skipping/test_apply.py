from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.factories import FAMILIES, build, example
from tests.support.float64 import no_upcasts
from tests.support.runs import view_of

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.interventions import BlockedAttention, Variant, Window, ZeroedBranch
from chiasm.interventions.published_skips import fast_v, random_drop, short_v, v_skip, visual_ffn
from chiasm.interventions.skips import Skip, SkipPart, SkipPlan, SkipSpan, phase_of
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.skipping.apply import apply, remove, skipping
from chiasm.models.skipping.plans import identity_of, read_plan, save
from chiasm.models.view import ModelView
from chiasm.studies.skip.contributions import rows_of

LAYERS = 4
KINDS = {
    "ffn": visual_ffn((1, 3)),
    "ffn, half of them": visual_ffn((0, 1, 2, 3), share=0.5),
    "v-skip": v_skip((1, 2)),
    "short-v": short_v((0, 2)),
    "fast-v": fast_v(LAYERS, after=2, share=0.5),
    "random drop": random_drop(LAYERS, after=1, share=0.5),
    "drop all": random_drop(LAYERS, after=2, share=1),
    "least change": Skip(part="block", span="image", layers=(2, 3), share=0.4, choice="least-change"),
    "text": Skip(part="ffn", span="text", layers=(1,), phase="both"),
    "all, decode": Skip(part="block", span="all", layers=(1, 2), phase="decode"),
    "all, attention": Skip(part="attention", span="all", layers=(2,), phase="both"),
    "parallel": Skip(part="parallel", span="all", layers=(1, 3), phase="both"),
}

COMPATIBLE = tuple(skip for name, skip in KINDS.items() if name not in ("random drop", "drop all"))


def plan_of(view: ModelView, *skips: Skip, name: str = "plan") -> SkipPlan:
    return SkipPlan(name=name, model=identity_of(view), skips=skips)


def logprobs(view: ModelView, inputs: dict) -> torch.Tensor:
    with torch.no_grad():
        return view.model(**inputs).logits.log_softmax(-1)


def image_rows(found: Encoded) -> tuple[int, ...]:
    return tuple(int(p) for p in found.spans["image"])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("parts", [("mlp",), ("attention",), ("attention", "mlp")])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gathered_skip_equals_zeroed_branches(family: str, parts: tuple[str, ...], implementation: str) -> None:
    view = ModelView(*build(family, dtype=torch.float64))
    view.decoder.set_attn_implementation(implementation)
    part = "block" if len(parts) == 2 else {"mlp": "ffn", "attention": "attention"}[parts[0]]
    with no_upcasts(torch.float64):
        for seed in (0, 1):
            found = view.encode(example(family, seed=seed))
            changes = tuple(
                ZeroedBranch(Window(layer, layer + 1, layer), name, image_rows(found))
                for layer in (1, 2)
                for name in parts
            )
            last = (found.length - 2, found.length - 1)
            job = Job(found, (Variant("zero", changes),), Readout(positions=last, full=True))
            [expected] = ReferenceExecutor().run(view, [job])
            with skipping(view, plan_of(view, Skip(part=part, span="image", layers=(1, 2)))):
                got = logprobs(view, dict(found.inputs))[0, list(last)]
            assert (got - expected.full[1]).abs().max() < 1e-9
            assert (expected.full[1] - expected.full[0]).abs().max() > 1e-3


@pytest.mark.parametrize("part", ["ffn", "attention", "block"])
@pytest.mark.parametrize(
    ("family", "span"),
    [("llava_next_video", "video"), ("qwen2_audio", "audio"), ("gemma3", "image"), ("paligemma", "text")],
)
def test_rows_of_any_span_are_left_out(family: str, span: SkipSpan, part: SkipPart) -> None:
    view = view_of(family)
    one, other = (view.encode(example(family, seed=seed)) for seed in (0, 3))
    plan = plan_of(view, Skip(part=part, span=span, layers=(1, 2), phase=phase_of(span)))
    branches = {"ffn": ("mlp",), "attention": ("attention",), "block": ("attention", "mlp")}[part]
    zeros = tuple(ZeroedBranch(Window(k, k + 1, k), name, rows_of(one, span)) for k in (1, 2) for name in branches)
    job = Job(one, (Variant("zeroed", zeros),), Readout(positions=(one.length - 1,), full=True))
    [zeroed] = ReferenceExecutor().run(view, [job])
    with skipping(view, plan):
        alone = logprobs(view, one.inputs)[0, -1]
        padded = logprobs(view, view.collate([one, other])[0])[0, -1]
    for found in (alone, padded):
        torch.testing.assert_close(found, zeroed.full[1][0], atol=1e-4, rtol=0)
    assert not torch.allclose(alone, zeroed.full[0][0], atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_skip_is_bit_identical_and_removal_restores(family: str) -> None:
    view = view_of(family)
    inputs = dict(view.encode(example(family)).inputs)
    before = logprobs(view, inputs)
    text_only = {"input_ids": inputs["input_ids"][:, -4:], "attention_mask": inputs["attention_mask"][:, -4:]}
    without_image = logprobs(view, text_only)
    with skipping(view, plan_of(view, name="none")):
        assert torch.equal(logprobs(view, inputs), before)
    with skipping(view, plan_of(view, *COMPATIBLE)):
        assert not torch.equal(logprobs(view, inputs), before)
    with skipping(view, plan_of(view, short_v((0, 1)), fast_v(LAYERS))):
        assert torch.equal(logprobs(view, text_only), without_image)
    assert torch.equal(logprobs(view, inputs), before)
    assert not any("forward" in module.__dict__ for module in view.model.modules())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_generation_with_a_cache_equals_forwards_without(family: str, kind: str) -> None:
    """Decoding step by step sees what the prefill left, no more and no less; padding and neighbours do not matter."""
    view = ModelView(*build(family, dtype=torch.float64))
    skip = KINDS[kind]
    examples = [example(family, seed=s) for s in (0, 1, 2)]
    with no_upcasts(torch.float64), skipping(view, plan_of(view, skip)) as model:
        encoded = [view.encode(e) for e in examples]
        options = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        options |= {"eos_token_id": None, "pad_token_id": 0}
        alone = [model.generate(**e.inputs, **options) for e in encoded]
        inputs, padding = view.collate(encoded)
        assert max(padding) > 0
        together = model.generate(**inputs, **options)
    for lane, one in enumerate(alone):
        for step in range(4):
            difference = (together.logits[step][lane] - one.logits[step][0]).abs().max()
            assert difference < 1e-9, (lane, step)
    if skip.phase == "prefill" or skip.phase == "both":
        with no_upcasts(torch.float64):
            plain = view.model.generate(**encoded[0].inputs, **options)
        assert (plain.logits[0] - alone[0].logits[0]).abs().max() > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_under_a_skip_of_everything_equals_one_long_forward(family: str) -> None:
    view = ModelView(*build(family, dtype=torch.float64))
    skip = Skip(part="block", span="all", layers=(1,), phase="both")
    found = view.encode(example(family))
    with no_upcasts(torch.float64), skipping(view, plan_of(view, skip)) as model, torch.no_grad():
        options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        made = model.generate(**found.inputs, **options, output_logits=True, return_dict_in_generate=True)
        ids = made.sequences[:, :-1]
        longer = dict(found.inputs) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "mm_token_type_ids" in longer:
            longer["mm_token_type_ids"] = torch.nn.functional.pad(found.inputs["mm_token_type_ids"], (0, 2))
        whole = model(**longer).logits
    assert (whole[0, -1] - made.logits[2][0]).abs().max() < 1e-9


def test_dropped_tokens_are_neither_computed_nor_seen() -> None:
    """Dropping all image tokens from layer k on equals zeroed branches there, and a cut of all who read them."""
    view = ModelView(*build("llava", dtype=torch.float64))
    found = view.encode(example("llava"))
    image = image_rows(found)
    later = tuple(p for p in range(found.length) if p > max(image))
    change = BlockedAttention(Window(2, LAYERS, 2), later, image)
    with no_upcasts(torch.float64):
        job = Job(found, (Variant("cut", (change,)),), Readout(full=True))
        [expected] = ReferenceExecutor().run(view, [job])
        with skipping(view, plan_of(view, random_drop(LAYERS, after=2, share=1))):
            got = logprobs(view, dict(found.inputs))[0, -1]
    assert (got - expected.full[1, 0]).abs().max() < 1e-9


def test_the_rows_left_out_are_not_computed() -> None:
    view = view_of("llava")
    found = view.encode(example("llava"))
    image, length = len(found.spans["image"]), found.length
    rows: dict[str, list[int]] = {"mlp": [], "q": [], "k": []}

    def counting(name: str):
        return lambda module, args, output: rows[name].append(args[0].shape[0] * args[0].shape[1])

    layer = view.layers[1]
    handles = [
        layer.mlp.gate_proj.register_forward_hook(counting("mlp")),
        layer.self_attn.o_proj.register_forward_hook(counting("q")),
        layer.self_attn.k_proj.register_forward_hook(counting("k")),
    ]
    try:
        for part, expected in (
            ("ffn", (length - image, length, length)),
            ("attention", (length, length - image, length)),
            ("block", (length - image, length - image, length)),
            ("tokens", (length - image, length - image, length - image)),
        ):
            layers = (1, 2, 3) if part == "tokens" else (1,)
            with skipping(view, plan_of(view, Skip(part=part, span="image", layers=layers))):
                logprobs(view, dict(found.inputs))
            assert tuple(sum(rows[name]) for name in ("mlp", "q", "k")) == expected, part
            for counted in rows.values():
                counted.clear()
    finally:
        for handle in handles:
            handle.remove()


def test_fast_v_drops_what_the_last_row_attends_to_least() -> None:
    view = ModelView(*build("llava", dtype=torch.float64))
    found = view.encode(example("llava"))
    image = np.array(image_rows(found))
    with no_upcasts(torch.float64):
        view.decoder.set_attn_implementation("eager")
        with torch.no_grad():
            weights = view.model(**found.inputs, output_attentions=True).attentions[1][0, :, -1].mean(0).numpy()
        view.decoder.set_attn_implementation("sdpa")
        kept = sorted(image[np.argsort(weights[image], kind="stable")][len(image) // 2 :])
        seen = []
        hook = view.layers[2].self_attn.k_proj.register_forward_pre_hook(lambda m, a: seen.append(a[0].shape[1]))
        with skipping(view, plan_of(view, fast_v(LAYERS, after=2, share=0.5))):
            logits = logprobs(view, dict(found.inputs))
        hook.remove()
        assert seen == [found.length - len(image) // 2]
        gone = tuple(int(p) for p in image if p not in kept)
        # Rows behind the dropped ones do not see them; image rows that stay see only those that stay.
        changes = tuple(
            BlockedAttention(Window(2, LAYERS, 2), (row,), tuple(g for g in gone if g < row))
            for row in range(min(gone) + 1, found.length)
            if row not in gone
        )
        job = Job(found, (Variant("cut", changes),), Readout(full=True))
        [expected] = ReferenceExecutor().run(view, [job])
    assert (logits[0, -1] - expected.full[1, 0]).abs().max() < 1e-9


def test_a_plan_survives_json_and_saving(tmp_path, caplog) -> None:
    view = view_of("llava")
    plan = SkipPlan(name="mine", model=identity_of(view), skips=COMPATIBLE, measured={"loss": 0.5, "n": 3})
    assert SkipPlan.from_json(plan.to_json()) == plan
    save(view, plan, tmp_path)
    assert read_plan(tmp_path) == plan
    again = chiasm.load(tmp_path, device="cpu")
    assert "chiasm.apply" in caplog.text
    found = view.encode(example("llava"))
    with skipping(view, plan), skipping(again, read_plan(tmp_path / "plan.json")):
        assert torch.equal(logprobs(again, dict(found.inputs)), logprobs(view, dict(found.inputs)))


def test_mistakes_are_named() -> None:
    view, other = view_of("llava"), view_of("llava", layers=3)
    plan = plan_of(view, short_v((1,)))
    with pytest.raises(ChiasmError, match="made for a llava of 4 layers"):
        apply(other, plan)
    other = ModelView(*build("llava", seed=1))
    with pytest.raises(ChiasmError, match="other weights"):
        apply(other, plan)
    apply(other, plan, same_weights=False)
    with pytest.raises(ChiasmError, match="in effect already"):
        apply(other, plan, same_weights=False)
    remove(other)
    with pytest.raises(ChiasmError, match="none is in effect"):
        remove(other)
    with pytest.raises(ChiasmError, match="no tokens of the span `video`"):
        apply(view, plan_of(view, visual_ffn((1,), span="video")))
    with pytest.raises(ChiasmError, match="input_ids"), skipping(view, plan):
        view.model(inputs_embeds=torch.zeros(1, 3, view.width))
    with pytest.raises(ChiasmError, match="there is no such file"):
        read_plan("nowhere.json")


def test_folders_and_files_without_a_plan_are_named(tmp_path) -> None:
    with pytest.raises(ChiasmError, match=r"holds no plan\.json"):
        read_plan(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ChiasmError, match=r"read the plan .*config\.json.*this is none: it lacks 'format'"):
        read_plan(tmp_path / "config.json")


def test_a_plan_is_saved_beside_weights_that_it_fits(tmp_path) -> None:
    view, other = view_of("llava"), ModelView(*build("llava", seed=1))
    plan = replace(plan_of(view, short_v((1,))), measured={"loss": 0.1})
    with pytest.raises(ChiasmError, match="other weights"):
        save(other, plan, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    save(other, plan, tmp_path / "other", same_weights=False)
    kept = read_plan(tmp_path / "other")
    assert kept == replace(plan, model=identity_of(other), measured={})
    with skipping(other, kept):
        pass


def test_layers_that_nobody_reads_compute_nothing_at_all() -> None:
    view = view_of("llava")
    found = view.encode(example("llava"))
    skip = Skip(part="block", span="all", layers=(1,), phase="both")
    calls = []
    hook = view.layers[1].self_attn.k_proj.register_forward_hook(lambda *_: calls.append("k"))
    with skipping(view, plan_of(view, skip)) as model:
        made = model.generate(
            **found.inputs, max_new_tokens=3, do_sample=False, pad_token_id=0, return_dict_in_generate=True
        )
    hook.remove()
    assert not calls
    assert made.past_key_values.layers[1].keys.shape[-1] == 1


def test_a_static_cache_is_refused_and_feed_forward_skipping_takes_it() -> None:
    view = view_of("llava")
    inputs = view.encode(example("llava")).inputs
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with skipping(view, plan_of(view, v_skip((1,)))) as model, pytest.raises(ChiasmError, match="StaticCache"):
        model.generate(**inputs, **options, cache_implementation="static", disable_compile=True)
    with skipping(view, plan_of(view, visual_ffn((1,)))) as model:
        dynamic = model.generate(**inputs, **options)
        static = model.generate(**inputs, **options, cache_implementation="static", disable_compile=True)
    assert torch.equal(dynamic, static)


def test_beams_keep_what_their_prompt_kept() -> None:
    view = ModelView(*build("llava", dtype=torch.float64))
    encoded = [view.encode(example("llava", seed=s)) for s in (0, 1)]
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with no_upcasts(torch.float64), skipping(view, plan_of(view, fast_v(LAYERS, after=2, share=0.5))) as model:
        alone = [model.generate(**e.inputs, **options)[0, e.length :] for e in encoded]
        inputs, _ = view.collate(encoded)
        together = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(torch.stack(alone), together)


def test_training_under_a_plan_gives_gradients_where_work_is_done() -> None:
    model, processor = build("llava")
    view = ModelView(model, processor)
    inputs = dict(view.encode(example("llava")).inputs)
    layers = tuple(range(LAYERS))
    with skipping(view, plan_of(view, short_v(layers[1:]), Skip(part="ffn", span="all", layers=(0,)))):
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert view.layers[0].mlp.up_proj.weight.grad is None
    assert view.layers[1].mlp.up_proj.weight.grad.abs().max() > 0
    assert view.layers[2].self_attn.q_proj.weight.grad.abs().max() > 0
    assert view.layers[2].self_attn.k_proj.weight.grad.abs().max() > 0
