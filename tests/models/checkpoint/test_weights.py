"""What transformers would draw at random, cast or leave out is an error that names it; nothing sound is refused."""

import pytest
import torch
from tests.support import factories
from tests.support.checkpoints import change_json, change_weights

from chiasm.core.errors import ChiasmError
from chiasm.models.loading import load, wrap

HEAD = "language_model.lm_head.weight"
PROJECTOR = "multi_modal_projector.linear_1.weight"


def refused(folder, words):
    with pytest.raises(ChiasmError, match=words) as caught:
        load(folder)
    return str(caught.value)


def test_a_missing_head_is_named_and_not_drawn(copied):
    change_weights(copied, lambda tensors: tensors.pop(HEAD))
    said = refused(copied, r"1 tensor is missing in its files \(`lm_head\.weight`\) and would be drawn at random")
    assert "save it from the one that generates text" in said


def test_a_tied_head_may_be_absent(tmp_path):
    model, processor = factories.build("gemma3")
    model.config.text_config.tie_word_embeddings = model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    view = load(tmp_path)
    assert view.head.weight is view.embeddings.weight
    assert view.fingerprint() == wrap(model, processor).fingerprint()


def test_a_renamed_projector_is_missing_and_unexpected(copied):
    def rename(tensors):
        for name in [name for name in tensors if name.startswith("multi_modal_projector")]:
            tensors[name.replace("multi_modal_projector", "mm_proj")] = tensors.pop(name)

    change_weights(copied, rename)
    said = refused(copied, "multi_modal_projector")
    assert "4 tensors are missing" in said
    assert "4 tensors are in its files that the model has no place for (`mm_proj.linear_1.bias`" in said
    assert "renamed" in said


def test_a_tensor_too_many_is_named(copied):
    change_weights(copied, lambda tensors: tensors.update(another=torch.zeros(3)))
    refused(copied, r"1 tensor is in its files that the model has no place for \(`another`\)")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_single_number_that_is_none(copied, value):
    def spoil(tensors):
        tensors[PROJECTOR][3, 5] = value

    change_weights(copied, spoil)
    refused(copied, rf"1 tensor is NaN or infinite \(`model\.{PROJECTOR}`\)")


def test_integers_without_scales(copied):
    def quantise(tensors):
        for name in [name for name in tensors if "q_proj" in name and "language_model" in name]:
            tensors[name] = (tensors[name] * 50).to(torch.int8)

    change_weights(copied, quantise)
    refused(copied, "4 tensors are stored as I8 without scales")


def test_one_tensor_that_was_rounded(copied):
    change_weights(copied, lambda tensors: tensors.update({PROJECTOR: tensors[PROJECTOR].bfloat16()}))
    refused(copied, "1 tensor is stored as BF16 where those like it are F32")


def test_norms_kept_in_full_precision_beside_half_precision_are_fine(copied):
    def halve(tensors):
        for name, values in tensors.items():
            if "norm" not in name:
                tensors[name] = values.bfloat16()

    change_weights(copied, halve)
    assert load(copied).n_layers == 4


def test_weights_are_not_rounded_to_what_the_configuration_says(copied, caplog):
    change_json(copied / "config.json", lambda held: held.update(dtype="float16"))
    assert load(copied).dtype == torch.float32
    assert "stored in torch.float32 and stay so, though config.json says torch.float16" in caplog.text


@pytest.mark.parametrize("rows", [400, 440])
def test_a_vocabulary_of_another_size(copied, rows):
    change_json(copied / "config.json", lambda held: held["text_config"].update(vocab_size=rows))
    said = refused(copied, rf"420 x 48 in its files and {rows} x 48 by its config\.json")
    assert "vocabulary" in said


def test_a_tokenizer_of_another_model():
    model, processor = factories.build("llava")
    processor.tokenizer.add_tokens([f"<new{number}>" for number in range(60)])
    with pytest.raises(ChiasmError, match=r"has ids up to \d+ \('<new59>'\), and its embedding is 420 x 48"):
        wrap(model, processor)


def test_a_head_that_was_resized_alone():
    model, processor = factories.build("llava")
    model.set_output_embeddings(torch.nn.Linear(48, 300, bias=False))
    with pytest.raises(ChiasmError, match="its embedding is 420 x 48 and its head 300 x 48"):
        wrap(model, processor)


def test_a_model_without_values():
    _, processor = factories.build("llava")
    config = factories.build("llava")[0].config
    with torch.device("meta"):
        model = factories.build("llava")[0].__class__(config)
    with pytest.raises(ChiasmError, match=r"on the device `meta` .*a shape and no values"):
        wrap(model, processor)


def test_a_model_without_a_head():
    model, processor = factories.build("llava")
    with pytest.raises(ChiasmError, match="LlavaModel has no output head, so it gives no word"):
        wrap(model.model, processor)


def test_a_checkpoint_of_a_class_without_a_head(tmp_path):
    model, processor = factories.build("llava")
    model.model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    refused(tmp_path, "`lm_head.weight`")
