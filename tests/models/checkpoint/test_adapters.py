"""An adapter beside a full model is never applied unasked, and one that changes nothing is said."""

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support import factories

from chiasm.core.errors import ChiasmError
from chiasm.models.description import describe
from chiasm.models.loading import load, wrap

LORA = peft.LoraConfig(r=2, lora_alpha=4, target_modules=r".*language_model.*\.(q_proj|v_proj)")


def with_adapter(values=None):
    """LLaVA wrapped by PEFT; `values`: the deviation of the second matrices, which are 0 untrained."""
    model, processor = factories.build("llava")
    wrapped = peft.get_peft_model(model, LORA)
    if values is not None:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            for name, one in wrapped.named_parameters():
                if "lora_B" in name:
                    one.normal_(0, values)
    return wrapped, processor


@torch.no_grad()
def logits(model):
    """On fixed inputs: processors that are loaded compute pixels with another library."""
    return model(**wrap(*factories.build("llava")).encode(factories.example()).inputs).logits


@pytest.fixture
def merged(tmp_path):
    """An adapter, and beside it the model that it was merged into; and what that model answers."""
    wrapped, processor = with_adapter(0.3)
    wrapped.save_pretrained(tmp_path)
    model = wrapped.merge_and_unload()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path, logits(model.eval())


def test_an_adapter_beside_a_full_model_is_refused_with_the_two_ways_out(merged):
    folder, _ = merged
    with pytest.raises(ChiasmError, match=r"a full model and an adapter.*--adapter apply.*--adapter ignore"):
        load(folder)


def test_a_merged_adapter_is_left_out_on_request(merged):
    folder, answered = merged
    view = load(folder, adapter="ignore")
    assert torch.equal(logits(view.model), answered)
    assert describe(view).adapter == ""


def test_an_adapter_is_added_on_request(tmp_path):
    wrapped, processor = with_adapter(0.3)
    wrapped.save_pretrained(tmp_path)
    answered = logits(wrapped.eval())
    model, _ = factories.build("llava")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    view = load(tmp_path, adapter="apply")
    torch.testing.assert_close(logits(view.model), answered)
    assert describe(view).adapter == "default, changes 8 of 8 modules"


def test_an_adapter_of_another_model_is_refused(merged):
    folder, _ = merged
    weights = folder / "adapter_model.safetensors"
    held = load_file(weights)
    save_file({name.replace("language_model", "text_model"): one for name, one in held.items()}, weights)
    with pytest.raises(ChiasmError, match="tensors of its adapter fit no module"):
        load(folder, adapter="apply")


def test_a_pickled_adapter_is_refused(merged):
    folder, _ = merged
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ChiasmError, match=r"adapter_model\.safetensors is not there"):
        load(folder, adapter="apply")


def test_no_adapter_to_add_is_said(saved, caplog):
    assert load(saved, adapter="apply").n_layers == 4
    assert "No adapter lies beside" in caplog.text


def test_an_adapter_without_effect_is_said(tmp_path, caplog):
    """PEFT leaves out, with a warning of its own, what fits no module: the model is then that without adapter."""
    wrapped, processor = with_adapter()
    view = wrap(wrapped, processor)
    assert "default, changes nothing" in caplog.text
    assert "its answers are those of the base model" in caplog.text
    assert str(describe(view)).count("adapter default, changes nothing") == 1


def test_an_adapter_whose_keys_match_no_module_is_said(tmp_path, caplog):
    with_adapter(0.3)[0].save_pretrained(tmp_path)
    held = load_file(tmp_path / "adapter_model.safetensors")
    other = {name.replace("language_model", "text_model"): one for name, one in held.items()}
    assert held.keys().isdisjoint(other)
    save_file(other, tmp_path / "adapter_model.safetensors")
    model, processor = factories.build("llava")
    with pytest.warns(UserWarning, match="missing adapter keys"):
        wrapped = peft.PeftModel.from_pretrained(model, tmp_path)
    wrap(wrapped, processor)
    assert "changes nothing" in caplog.text


def test_an_adapter_at_work_is_described():
    wrapped, processor = with_adapter(0.3)
    assert describe(wrap(wrapped, processor)).adapter == "default, changes 8 of 8 modules"
    with wrapped.disable_adapter():
        assert describe(wrap(wrapped, processor)).adapter == "default, switched off, changes nothing"
    wrapped.merge_adapter()
    assert describe(wrap(wrapped, processor)).adapter == "merged into the weights"
