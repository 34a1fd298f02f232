"""What was loaded is said in one line, and kept as plain values in manifest and report."""

import json

import pytest
from tests.support import factories
from tests.support.checkpoints import change_json

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.models.description import describe
from chiasm.models.loading import load

MEMORY = "LlavaForConditionalGeneration, 158,672 parameters in float32, 4 layers, chat template own, processor own, "


@pytest.fixture
def saved(tmp_path):
    return factories.save("llava", tmp_path / "model")


def evaluated(model, out, **options):
    return chiasm.evaluate(model, data=[factories.example(seed=seed) for seed in range(2)], out=out, **options)


def test_one_line_says_what_was_loaded(saved):
    said = str(describe(load(saved)))
    assert said.startswith(MEMORY)
    assert said.endswith("(fast): resize, crop to 28 x 28, 36 rows of the vocabulary without a token")


def test_weights_that_are_cast_are_said(saved):
    assert "parameters in float64 (stored in float32)," in str(describe(load(saved, dtype="float64")))


def test_an_invented_template_is_said_on_screen_in_manifest_and_report(saved, tmp_path, caplog):
    (saved / "chat_template.jinja").unlink()
    caplog.set_level("INFO", "chiasm")
    run = evaluated(saved, tmp_path / "run")
    assert "chat template written by chiasm" in caplog.text
    assert json.loads((run.path / "manifest.json").read_text())["loaded"]["template"] == "written by chiasm"
    assert "chat template written by chiasm" in run.report().read_text()


def test_a_processor_put_together_from_parts_is_said(tmp_path):
    factories.save("qwen2_vl", tmp_path)
    assert describe(load(tmp_path)).processor == "own"
    processor = factories.build("qwen2_vl")[1]
    processor.image_processor.save_pretrained(tmp_path)
    processor.video_processor.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").unlink()
    for path in tmp_path.glob("*_config.json"):
        change_json(path, lambda held: held.pop("processor_class", None))
    assert describe(load(tmp_path)).processor == "put together by transformers"


@pytest.mark.parametrize("entry", ["rope_theta", "image_mean"])
def test_a_run_is_not_gone_on_with_by_other_settings(saved, tmp_path, entry):
    """No weight contradicts another rotary base, and no file other means of pixels."""
    evaluated(saved, tmp_path / "run")
    if entry == "rope_theta":
        change_json(saved / "config.json", lambda held: held["text_config"]["rope_parameters"].update(rope_theta=2e4))
    else:
        change_json(
            saved / "processor_config.json", lambda held: held["image_processor"].update(image_mean=[0.4, 0.5, 0.6])
        )
    with pytest.raises(ChiasmError, match=r"`loaded` is not what it was \(settings is"):
        evaluated(saved, tmp_path / "run", resume=True)


def test_image_processors_are_not_mixed(saved, tmp_path):
    """They differ in the last bits of every pixel."""
    view = load(saved)
    evaluated(view, tmp_path / "run")
    slow = factories.build("llava")[1]
    view.processor.image_processor = slow.image_processor
    with pytest.raises(ChiasmError, match=r"image_processor is \"torchvision \(fast\)\" there, \"pil \(slow\)\" here"):
        evaluated(view, tmp_path / "run", resume=True)


def test_the_same_copy_elsewhere_has_the_same_settings(saved, tmp_path):
    first = load(saved)
    first.model.save_pretrained(tmp_path / "again")
    first.processor.save_pretrained(tmp_path / "again")
    assert describe(load(tmp_path / "again")) == describe(first)
