"""Feed-forward of image tokens against that of as many text tokens, beside a plain forward written from definitions."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import chiasm
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.generation import generate
from chiasm.studies.skip.modalities import matched_rows, modality_job, modality_rows


def embedded(model, inputs):
    """What the decoder reads: the embeddings of the prompt, image tokens filled in."""
    read = []
    [decoder] = [part for name, part in model.named_modules() if name.endswith("language_model")]
    hook = decoder.register_forward_pre_hook(
        lambda m, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return decoder, read[0][0].double()


def plain_forward(model, inputs, skipped):
    """Log-probabilities at every position in float64; `skipped`: by layer, the rows whose feed-forward adds nothing."""
    decoder, x = embedded(model, inputs)
    config, n = decoder.config, len(x)
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10000.0)
    angles = torch.outer(torch.arange(n).double(), theta ** -(torch.arange(0, size, 2).double() / size)).repeat(1, 2)

    def weighed(linear, of):
        return of @ linear.weight.detach().double().T

    def normed(layer, of):
        scale = (of.square().mean(-1, keepdim=True) + layer.variance_epsilon).rsqrt()
        return of * scale * layer.weight.detach().double()

    def turned(of):
        half = torch.cat([-of[..., size // 2 :], of[..., : size // 2]], -1)
        return of * angles.cos() + half * angles.sin()

    def split(of, count):
        return of.view(n, count, size).transpose(0, 1)

    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    for index, layer in enumerate(decoder.layers):
        read, attention = normed(layer.input_layernorm, x), layer.self_attn
        query, key = (
            turned(split(weighed(attention.q_proj, read), heads)),
            turned(split(weighed(attention.k_proj, read), groups)),
        )
        value = split(weighed(attention.v_proj, read), groups)
        key, value = (part.repeat_interleave(heads // groups, 0) for part in (key, value))
        scores = (query @ key.transpose(1, 2) / math.sqrt(size)).masked_fill(hidden, -torch.inf)
        x = x + weighed(attention.o_proj, (scores.softmax(-1) @ value).transpose(0, 1).reshape(n, -1))
        read, mlp = normed(layer.post_attention_layernorm, x), layer.mlp
        added = weighed(mlp.down_proj, F.silu(weighed(mlp.gate_proj, read)) * weighed(mlp.up_proj, read))
        added[list(skipped.get(index, ()))] = 0
        x = x + added
    return weighed(model.get_output_embeddings(), normed(decoder.norm, x)).log_softmax(-1)


@pytest.fixture(scope="module")
def measured():
    view = chiasm.load("tiny", dtype="float32")
    found = []
    for example in islice(chiasm.examples("scenes"), 6):
        # The model's own wording, as a run takes it: a label may be written as it never would.
        [answer] = generate(view, [view.encode(example)], 8)
        forced = view.encode(example, answer=answer.text)
        job = modality_job(forced, view.n_layers, "image", 0)
        [outcome] = ReferenceExecutor().run(view, [job])
        found.append((forced, matched_rows(forced, "image", 0), modality_rows(example, job, outcome)))
    return view, found


def test_as_many_of_both_and_never_the_last_token(measured):
    _, found = measured
    drawn = set()
    for forced, rows, table in found:
        last, image = int(forced.spans["last"][-1]), {int(p) for p in forced.spans["image"]}
        assert set(rows.perceptual) <= image
        # Text is the fewer here: all of it but the last token of the prompt, and nothing of the answer.
        assert list(rows.text) == [p for p in range(last) if p not in image]
        assert len(rows.perceptual) == len(rows.text) == table[0]["tokens"]
        drawn.add(rows.perceptual)
    assert len(drawn) == len(found), "other tokens in every example"


def test_what_is_lost_is_what_a_plain_forward_loses(measured):
    view, found = measured
    every, lost = range(view.n_layers), {"image": [], "text": []}
    for forced, rows, table in found:
        places = torch.tensor([int(forced.spans["last"][-1]), *(int(p) for p in forced.spans["answer"][:-1])])
        scored = torch.tensor(forced.answer_tokens)

        def answer(skipped, forced=forced, places=places, scored=scored):
            return float(plain_forward(view.model, forced.inputs, skipped)[places, scored].sum())

        for name, layers in (("all", every), ("half", every[2:-1:2])):
            for span, own in (("image", rows.perceptual), ("text", rows.text)):
                row = next(one for one in table if (one["layers"], one["span"]) == (name, span))
                assert row["logprob_skip"] == pytest.approx(answer(dict.fromkeys(layers, own)), abs=1e-3)
                assert row["logprob_clean"] == pytest.approx(answer({}), abs=1e-3)
                if name == "all":
                    lost[span].append(row["logprob_clean"] - row["logprob_skip"])
        # The last token alone costs more than all other text together: it is what must be spared.
        last = answer(dict.fromkeys(every, (int(places[0]),)))
        lost.setdefault("last", []).append(answer({}) - last)
    assert np.mean(lost["last"]) > 2 * np.mean(lost["text"])


def test_more_text_than_image_tokens_are_drawn_at_random(measured):
    view, _ = measured
    example = next(iter(chiasm.examples("scenes")))
    encoded = view.encode(
        example, instruction="Answer in one word or in a short phrase, please, and nothing else. " * 4
    )
    rows = matched_rows(encoded, "image", 0)
    assert list(rows.perceptual) == [int(p) for p in encoded.spans["image"]]
    assert len(rows.text) == len(rows.perceptual)
    assert int(encoded.spans["last"][-1]) not in rows.text
    assert matched_rows(encoded, "image", 1).text != rows.text
    assert matched_rows(encoded, "video", 0) is None
