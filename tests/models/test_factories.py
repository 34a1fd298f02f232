"""The test models are small, real, and sensitive to what is cut."""

import pytest
import torch
from tests.support.factories import FAMILIES, build, example, save
from transformers import AutoModelForImageTextToText, AutoProcessor


def _batch(processor, shown):
    content = [{"type": "image"}] * len(shown.images) + [{"type": "text", "text": shown.question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(text=[text], images=list(shown.images), return_tensors="pt")


@pytest.mark.parametrize("family", FAMILIES)
def test_closing_the_image_moves_the_answer(family):
    model, processor = build(family, dtype=torch.float64, layers=5)
    batch = _batch(processor, example(family, images=2))
    batch["pixel_values"] = batch["pixel_values"].double()
    is_image = batch["input_ids"][0] == processor.image_token_id
    length = len(is_image)
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    after = int(torch.where(is_image)[0].max()) + 1
    mask[after:, is_image] = False

    def close(_module, args, kwargs):
        return args, kwargs | {"attention_mask": mask[None, None]}

    with torch.no_grad():
        clean = model(**batch).logits[0, -1].log_softmax(-1)
        hooks = [layer.register_forward_pre_hook(close, with_kwargs=True) for layer in model.get_decoder().layers]
        cut = model(**batch).logits[0, -1].log_softmax(-1)
        for hook in hooks:
            hook.remove()
    assert 0.1 < (cut - clean).abs().max() < 30


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_directories_open_with_the_auto_classes(family, tmp_path):
    save(family, tmp_path)
    model, processor = build(family)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(again) is type(model)
    batch = _batch(processor, example(family))
    reread = _batch(AutoProcessor.from_pretrained(tmp_path), example(family))
    assert reread["input_ids"].tolist() == batch["input_ids"].tolist()
    with torch.no_grad():
        assert torch.equal(again.eval()(**batch).logits, model(**batch).logits)
