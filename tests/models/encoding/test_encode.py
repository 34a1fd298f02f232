"""Examples as model inputs: the spans partition the prompt, and batches say what single examples say."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.factories import CONTEXT, FAMILIES, build, example, picture
from tests.support.tokenizers import sentencepiece_tokenizer

from chiasm.core.errors import ChiasmError, EmptySpanError, ExampleError
from chiasm.core.example import DEFAULT_INSTRUCTION, Box, Example
from chiasm.core.spans import TOP_LEVEL
from chiasm.models.encoding.batches import encode_batch
from chiasm.models.encoding.encode import accepted_inputs, encode
from chiasm.models.families import family_of

TEMPLATES = {
    "own": None,
    "text first": "{% for p in messages[0]['content'] | reverse %}{{ p['text'] if p['type'] == 'text' else image }}"
    "{% endfor %} A:",
    "strips, ends in the question": "{% for p in messages[0]['content'] %}"
    "{{ (p['text'] | trim) if p['type'] == 'text' else image + ' then ' }}{% endfor %}",
}
_MODELS = {family: build(family, layers=2) for family in FAMILIES}


def _encode(family, shown, template=None, **options):
    model, processor = _MODELS[family]
    own = processor.chat_template
    try:
        if template is not None:
            mark = "<image>" if family.startswith("llava") else "<|vision_start|><|image_pad|><|vision_end|>"
            processor.chat_template = template.replace("image +", f"'{mark}' +").replace("else image", f"else '{mark}'")
        return encode(processor, family_of(model.config), model.config, shown, **options)
    finally:
        processor.chat_template = own


def _decode(family, encoded, span):
    return _MODELS[family][1].tokenizer.decode(
        encoded.input_ids[0, torch.from_numpy(encoded.spans[span])], clean_up_tokenization_spaces=False
    )


def _assert_partition(encoded):
    spans, prompt = encoded.spans, encoded.length - len(encoded.answer_tokens)
    top = [spans[name] for name in TOP_LEVEL if name in spans]
    assert np.array_equal(np.sort(np.concatenate(top)), np.arange(prompt))
    assert spans["last"].tolist() == [prompt - 1]
    for name in spans:
        # The token that ends an image is text.
        parent = "between+suffix+last" if name == "image.end" else name.split(".")[0].split("[")[0]
        assert np.isin(spans[name], spans[parent]).all(), name


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(
    question=st.text(max_size=30)
    | st.sampled_from(["Is it red or blue?", "  the red \n", "你好 red?", "e\u0301", "🦜🦜 é"]),
    images=st.integers(0, 3),
    options=st.sampled_from([(), ("red", "blue"), ("Red",)]),
    instruction=st.sampled_from(["", DEFAULT_INSTRUCTION, "red"]),
    seed=st.integers(0, 9),
)
def test_top_level_spans_partition_the_prompt(family, template, question, images, options, instruction, seed):
    assume(not any(token in question for token in ("<s>", "</s>", "<unk>", "<pad>", "<image>")))
    assume(question.strip() or instruction or images)
    shown = example(family, seed, images, question, options)
    encoded = _encode(family, shown, TEMPLATES[template], instruction=instruction)
    _assert_partition(encoded)
    spans, ids = encoded.spans, encoded.input_ids[0]
    is_image = (ids == _MODELS[family][1].image_token_id).numpy()
    kept = np.setdiff1d(np.flatnonzero(is_image), spans["last"])
    assert np.array_equal(spans["image"], kept)
    assert np.array_equal(np.sort(np.concatenate([np.empty(0, int), *(x.positions for x in encoded.layouts)])), kept)
    if len(spans["question"]):
        assert np.array_equal(np.diff(spans["question"]), np.ones(len(spans["question"]) - 1))
    if template == "own":
        words = unicodedata.normalize("NFC", question) if family.startswith("qwen") else question
        assert words.strip() in _decode(family, encoded, "question")
        # Reading order: prefix, image, between, question, suffix, last.
        ends = [spans[n][[0, -1]] for n in ("prefix", "question", "suffix", "last") if len(spans[n])]
        assert np.all(np.diff(np.concatenate(ends)) >= 0)
        if images:
            assert spans["prefix"].max(initial=-1) < spans["image"].min()
            assert spans["image"].max() < spans["suffix"].min()
        assert bool(len(spans["between"])) == bool(images)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_span_holds_the_words_it_is_named_after(family):
    shown = example(family, images=2, question="Is the circle red, light blue or Red?", options=("red", "light blue"))
    encoded = _encode(family, shown)
    decoded = {name: _decode(family, encoded, name) for name in encoded.spans}
    assert decoded["question"].strip() == shown.question
    assert decoded["suffix"].startswith(f"\n{DEFAULT_INSTRUCTION}")
    # Whether a space is part of the word after it is the tokenizer's affair.
    packed = {name: text.replace(" ", "") for name, text in decoded.items()}
    assert packed["question.options"] == "redlightblueRed"
    assert packed["question.option.true"] == "redRed"
    assert packed["question.option.false"] == "lightblue"
    assert packed["question.objects"] == "circle"
    if family.startswith("llava"):
        assert (decoded["prefix"], decoded["between"], decoded["last"]) == ("<s>USER: ", "\n\n", ":")
    else:
        assert decoded["prefix"].endswith("user\n<|vision_start|>")
        assert decoded["between"] == "<|vision_end|><|vision_start|><|vision_end|>"
        assert decoded["last"] == "\n"


def test_a_token_shared_with_the_newline_is_the_questions():
    model, processor = build("qwen2_vl", layers=1)
    processor.tokenizer.add_tokens(["?\n"])
    encoded = encode(processor, family_of(model.config), model.config, example(question="Red?"))
    assert processor.tokenizer.decode(encoded.input_ids[0, encoded.spans["question"]]) == "Red?\n"
    _assert_partition(encoded)


@pytest.mark.parametrize("legacy", [False, True])
def test_sentencepiece_words_keep_their_space(legacy):
    model, processor = build("llava", layers=1)
    processor.tokenizer = sentencepiece_tokenizer(legacy)
    image_token = processor.tokenizer.convert_tokens_to_ids("<image>")
    processor.image_token_id = image_token
    shown = example(question="What color, red or blue?")
    encoded = encode(processor, family_of(model.config), model.config, shown, answer="blue")
    tokens = np.array(processor.tokenizer.convert_ids_to_tokens(encoded.input_ids[0].tolist()))
    _assert_partition(encoded)
    assert set(tokens[encoded.spans["image"]]) == {"<image>"}
    assert tokens[encoded.spans["between"]].tolist() == (["▁", "<0x0A>"] if legacy else ["<0x0A>"])
    assert (
        "".join(tokens[encoded.spans["question"]]).replace("▁", " ").replace("<0x2C>", ",")
        == shown.question[:-1] + "<0x3F>"
    )
    assert tokens[encoded.spans["question.options"]].tolist() == ["▁red", "▁blue"]
    assert tokens[encoded.spans["last"]].tolist() == ["<0x3A>"]
    assert tokens[encoded.spans["answer"]].tolist() == ["▁blue"]


@pytest.mark.parametrize("family", FAMILIES)
def test_image_parts_belong_to_the_family_and_divide_the_image(family):
    encoded = _encode(family, example(family, images=2, size=(50, 40)))
    spans = encoded.spans
    assert np.array_equal(np.union1d(spans["image[0]"], spans["image[1]"]), spans["image"])
    assert len(spans["image.object"])
    assert np.isin(spans["image.object"], spans["image[0]"]).all()
    tiled = {"image.newline", "image.base", "image.hd"}
    assert tiled & set(spans) == (tiled if family == "llava_next" else set())
    newline = spans["image.newline"] if family == "llava_next" else np.empty(0, int)
    parts = [spans["image.object"], spans["image.other"], newline]
    assert np.array_equal(np.sort(np.concatenate(parts)), spans["image"])
    if family == "llava_next":
        parts = [spans["image.base"], spans["image.hd"], newline]
        assert np.array_equal(np.sort(np.concatenate(parts)), spans["image"])


def test_what_does_not_apply_is_present_and_empty():
    encoded = _encode("llava", example(options=(), boxes=(), question="What?"))
    for name in ("image.object", "question.options", "question.option.true", "question.objects"):
        with pytest.raises(EmptySpanError):
            encoded.spans.require(name)
    with pytest.raises(ChiasmError, match=r"span `image\.newline`"):
        encoded.spans["image.newline"]


def test_an_answer_that_is_no_option_makes_none_of_them_false():
    spans = _encode("llava", example(question="Is it red or blue?", answer="green")).spans
    assert len(spans["question.options"]) == 2
    assert not len(spans["question.option.true"]) + len(spans["question.option.false"])


def test_overlap_asks_for_a_share_of_each_patch():
    shown = example(size=(28, 28), boxes=(Box("x", 0, 0, 10, 7),))
    assert len(_encode("llava", shown).spans["image.object"]) == 2
    assert len(_encode("llava", shown, overlap=0.5).spans["image.object"]) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_takes_the_inputs_as_they_are(family):
    model, _ = _MODELS[family]
    for images in (0, 1, 3):
        encoded = _encode(family, example(family, images=images, boxes=()), answer="red")
        with torch.no_grad():
            logits = model(**encoded.inputs).logits
        assert logits.shape[:2] == (1, encoded.length)
        assert torch.isfinite(logits).all()
        assert set(encoded.inputs) <= accepted_inputs(type(model.config))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("answer", [None, "red circle", "a"])
def test_a_batch_is_what_the_processor_itself_would_make(family, answer):
    model, processor = _MODELS[family]
    shown = [example(family, seed, images=1 + seed % 3) for seed in range(4)]
    encoded = [_encode(family, s, answer=answer) for s in shown]
    batch = encode_batch(processor, family_of(model.config), model.config, encoded)
    if answer is None:
        images = [image for e in encoded for image in e.images]
        expected = processor(
            text=[e.text for e in encoded], images=images, padding=True, padding_side="left", return_tensors="pt"
        )
        assert batch.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(batch[key], value), key
    for row, one in enumerate(encoded):
        pad = batch["input_ids"].shape[1] - one.length
        assert not batch["attention_mask"][row, :pad].any()
        for key in ("input_ids", "attention_mask"):
            assert torch.equal(batch[key][row, pad:], one.inputs[key][0])
    with torch.no_grad():
        together = model(**batch).logits
        for row, one in enumerate(encoded):
            alone = model(**one.inputs).logits[0]
            # LLaVA counts padding in its position ids: relative rotations agree up to their float32 tables.
            assert torch.allclose(together[row, -one.length :], alone, atol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_follows_the_prompt_and_leaves_it_alone(family):
    shown = example(family)
    bare, forced = _encode(family, shown), _encode(family, shown, answer="red circle")
    assert forced.spans["last"].tolist() == bare.spans["last"].tolist() == [bare.length - 1]
    assert torch.equal(forced.input_ids[:, : bare.length], bare.input_ids)
    assert forced.spans["answer"].tolist() == list(range(bare.length, forced.length))
    assert _decode(family, forced, "answer").strip() == "red circle"
    assert tuple(forced.input_ids[0, bare.length :].tolist()) == forced.answer_tokens
    assert forced.inputs["attention_mask"].all()
    _assert_partition(forced)


def test_a_token_that_would_join_prompt_and_answer_is_not_used():
    model, processor = build("llava", layers=1)
    processor.tokenizer.add_tokens([": red"])
    bare = encode(processor, family_of(model.config), model.config, example())
    forced = encode(processor, family_of(model.config), model.config, example(), answer="red")
    assert torch.equal(forced.input_ids[:, : bare.length], bare.input_ids)
    assert processor.tokenizer.decode(list(forced.answer_tokens)) == " red"


def test_bad_examples_say_why():
    long = example(question="word " * CONTEXT)
    cases = [
        (long, {}, rf"tokens do not fit the context of {CONTEXT}"),
        (example(question="What is <image>?"), {}, "control tokens"),
        (example(), {"answer": ""}, "the answer has no token"),
        (example(), {"answer": "  "}, "the answer has no token"),
        (example(size=(2001, 10), boxes=()), {}, "more than 200 to 1"),
        (example(boxes=(Box("far", 500, 500, 10, 10),)), {}, "far"),
        (Example(id="v", question="What?", videos=("clip.mp4",)), {}, "it brings video"),
    ]
    for shown, options, reason in cases:
        with pytest.raises(ExampleError, match=reason):
            _encode("llava", shown, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_extreme_pictures_are_encoded(family):
    rng = np.random.default_rng(0)
    for size in ((1, 1), (1, 60), (400, 2), (3, 500)):
        encoded = _encode(family, Example(id="x", question="What?", images=(picture(rng, *size),)))
        with torch.no_grad():
            assert torch.isfinite(_MODELS[family][0](**encoded.inputs).logits).all()


def test_the_length_limit_counts_the_answer():
    model, processor = build("llava", layers=1)
    shown = example(question="What?")
    model.config.text_config.max_position_embeddings = _encode("llava", shown).length
    assert encode(processor, family_of(model.config), model.config, shown).length
    with pytest.raises(ExampleError, match="do not fit"):
        encode(processor, family_of(model.config), model.config, shown, answer="red")


def test_a_template_that_writes_the_first_token_gets_no_second_one():
    encoded = _encode("llava", example(), template="<s>{% for p in messages[0]['content'] %}"
        "{{ p['text'] if p['type'] == 'text' else image }}{% endfor %}")  # fmt: skip
    assert encoded.input_ids[0].tolist().count(1) == 1
    assert _encode("llava", example()).input_ids[0].tolist().count(1) == 1


def test_a_processor_of_another_model_is_refused():
    model, processor = build("llava", layers=1)
    processor.patch_size = 14
    with pytest.raises(ChiasmError, match="processor belongs to this model"):
        encode(processor, family_of(model.config), model.config, example())


def test_without_boxes_no_part_of_the_image_is_the_rest():
    """Else the rest would be the whole image, and a cut of it the same as a cut of that."""
    for boxes in (True, False):
        shown = example("llava", seed=0)
        spans = _encode("llava", shown if boxes else replace(shown, boxes=())).spans
        assert bool(len(spans["image.other"])) == boxes
        assert bool(len(spans["image.object"])) == boxes
