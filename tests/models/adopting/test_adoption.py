"""Architectures that are not listed: taken with no new code where the suite says so, else refused with the nearest."""

import json

import pytest
import torch
from tests.support.factories import build, example
from tests.support.factories_unlisted import save_vip_llava, vip_llava
from transformers import CONFIG_MAPPING

from chiasm.core.errors import ChiasmError
from chiasm.models.adopting.refusals import described, require_questions
from chiasm.models.conformance import LAWS, Law, check
from chiasm.models.families import listed_family
from chiasm.models.loading import load, wrap


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adopted"


def test_a_model_that_the_generic_rules_answer_is_taken_after_one_trial(tmp_path, cache, caplog, monkeypatch):
    where = save_vip_llava(tmp_path / "model")
    assert listed_family(CONFIG_MAPPING["vipllava"]()) is None
    view = load(where)
    assert view.family.name == "vipllava"
    assert view.family.causal
    assert view.family.kind.endswith("a square grid over the resized and cropped image")
    assert view.family.refused == {}
    assert "trying which rules answer it, once" in caplog.text
    assert "is taken. Places of its image tokens: a square grid" in caplog.text
    found = view.encode(example())
    assert len(found.spans["image.object"])
    assert view.projector is not None
    (kept,) = cache.iterdir()
    assert json.loads(kept.read_text())["causal"] is True

    def never(view, names=None):
        raise AssertionError("the suite runs once")

    monkeypatch.setattr("chiasm.models.adopting.adoption.check", never)
    again = load(where)
    assert again.family.kind == view.family.kind
    assert "it was tried before" in caplog.text
    # Another configuration is another model, and so is another processor: its crop is another place.
    with pytest.raises(AssertionError, match="once"):
        load(save_vip_llava(tmp_path / "other", layers=5))
    model, processor = vip_llava()
    processor.image_processor.size = {"height": 28, "width": 28}
    with pytest.raises(AssertionError, match="once"):
        wrap(model, processor)


def test_a_model_that_breaks_a_law_is_refused_with_the_law(caplog):
    model, processor = vip_llava()

    def noisy(layer, args, output):
        return output + torch.randn_like(output)

    handle = model.get_decoder().layers[1].register_forward_hook(noisy)
    with pytest.raises(ChiasmError, match=r"the generic rules do not answer \(.+: .+\).*nearest supported .*`llava`"):
        wrap(model, processor)
    handle.remove()


def test_no_weight_is_read_of_what_no_rule_can_answer(tmp_path):
    config = CONFIG_MAPPING["florence2"]()
    config.save_pretrained(tmp_path)
    with pytest.raises(ChiasmError, match="an encoder and a decoder"):
        load(tmp_path)


def test_a_checkpoint_without_a_chat_template_is_refused():
    model, processor = vip_llava()
    processor.chat_template = None
    with pytest.raises(ChiasmError, match="no chat template"):
        wrap(model, processor)


def test_listed_families_are_not_tried(monkeypatch):
    monkeypatch.setattr("chiasm.models.loading.adopt", None)
    assert wrap(*build("llava")).family.name == "llava"


def test_a_processor_that_takes_no_text_is_refused_by_its_class():
    class Hears:
        def __call__(self, audio, is_streaming=False):
            raise AssertionError("nothing of it is made")

    with pytest.raises(ChiasmError, match="takes `audio` and no text"):
        require_questions(Hears, CONFIG_MAPPING["qwen2_audio"]())


@pytest.mark.heavy
def test_what_one_kind_of_input_breaks_is_tried_again_by_its_laws_alone(monkeypatch):
    model, processor = vip_llava()
    asked = []

    def broken_once(view, names=None):
        laws = check(view, names=names)
        asked.append(names)
        if view.family.rules.batches and "two inputs in a padded batch" in (names or LAWS):
            return [*laws, Law("two inputs in a padded batch", False, 1.0, "differs by 1")]
        return laws

    monkeypatch.setattr("chiasm.models.adopting.adoption.check", broken_once)
    view = wrap(model, processor)
    assert view.family.refused == {"padded batches": "two inputs in a padded batch: differs by 1"}
    # All laws before and after, and between them those in question.
    assert asked[0] is asked[-1] is None
    assert all(len(names) < 5 for names in asked[1:-1])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AttributeError("'list' object has no attribute 'fps'"), "looks for `fps` in a `list`, which has none"),
        (ValueError("Got 1 text\nbut 2 audios"), "its own code raised ValueError: Got 1 text but 2 audios"),
    ],
)
def test_what_foreign_code_raises_is_put_in_a_line(error, said):
    assert said in described(error)
