"""Damaged at random, a checkpoint is refused or computes what it did: nothing wrong is computed silently."""

import random
import re
import shutil
from collections import Counter
from functools import cache

import pytest
import torch
from tests.support import factories
from tests.support.damage import DAMAGES

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance.trial import modalities, noise, noise_example
from chiasm.models.loading import load

FAMILIES = list(factories.EVERY)
OTHER_MODEL = re.compile(
    r"(num_attention_heads|num_heads|_eps|rope_\w+|mrope_section|partial_rotary_factor|hidden_act|\w+_softcapping)$"
    r"|(query_pre_attn_scalar|attn_scale|floor_scale|sliding_window|attention_chunk_size|n_window|tokens_per_second)$"
    r"|(topk_group|norm_topk_prob|layer_types|vision_feature_layer|\w+_indexes|\w+_indices)$"
    r"|(window_size|vision_end_token_id)$"
)
"""Entries of a configuration whose other values make another model of the same tensors: nothing in a checkpoint
contradicts them, and a run keeps them in its manifest (`settings`). Without the id of the token behind an image the
span `image.end` is not there, and nothing else differs: a cut that names it is refused."""


@torch.no_grad()
def computed(view):
    """All that a model computes with and what it makes of it: weights, and inputs, spans, logits by modality."""
    found = [view.fingerprint()]
    for modality in modalities(view):
        encoded = view.encode(noise_example(modality, (noise(modality, 0),)))
        spans = {name: span.tolist() for name, span in encoded.spans.items()}
        found.append((encoded.input_ids.tolist(), spans, view.model(**encoded.inputs).logits))
    return found


def alike(one, other):
    if one[0] != other[0] or len(one) != len(other):
        return False
    return all(
        mine[:2] == theirs[:2] and torch.allclose(mine[2], theirs[2], rtol=1e-5, atol=1e-5)
        for mine, theirs in zip(one[1:], other[1:], strict=True)
    )


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """By family: a sound checkpoint in several shards, and what it computes."""

    @cache
    def made(family):
        folder = tmp_path_factory.mktemp("original")
        model, processor = factories.build(family)
        model.save_pretrained(folder, max_shard_size="100KB")
        processor.save_pretrained(folder)
        return folder, computed(load(folder))

    return made


def outcome(number, originals, folder):
    """The kind of damage number `number`, what came of it, and what exactly was done."""
    family = FAMILIES[number % len(FAMILIES)]
    kind = list(DAMAGES)[number // len(FAMILIES) % len(DAMAGES)]
    original, sound = originals(family)
    damaged = shutil.copytree(original, folder / "damaged", dirs_exist_ok=False)
    what = DAMAGES[kind](damaged, random.Random(number))
    try:
        view = load(damaged)
    except ChiasmError:
        return kind, "refused", ""
    finally:
        shutil.rmtree(damaged)
    if alike(sound, computed(view)):
        return kind, "computes the same", ""
    undecidable = kind == "config altered" and any(OTHER_MODEL.match(part) for part in what.split()[0].split("."))
    return kind, "another model" if undecidable else "silently wrong", f"{family}: {what}"


def tried(numbers, originals, folder):
    found = [outcome(number, originals, folder) for number in numbers]
    wrong = [(kind, what) for kind, came, what in found if came == "silently wrong"]
    return Counter((kind, came) for kind, came, _ in found), wrong


@pytest.mark.heavy
def test_a_sample_of_damages(originals, tmp_path):
    counts, wrong = tried(range(0, 525, 21), originals, tmp_path)
    assert not wrong
    assert {kind for kind, _ in counts} == set(DAMAGES)
    assert sum(count for (_, came), count in counts.items() if came == "refused") > 12


@pytest.mark.heavy
def test_five_hundred_damages(originals, tmp_path):
    counts, wrong = tried(range(500), originals, tmp_path)
    for (kind, came), count in sorted(counts.items()):
        print(f"{kind:<15} {came:<18} {count}")
    assert not wrong
