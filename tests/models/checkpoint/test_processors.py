"""A processor from which no sound input could come is refused, with the file that would hold what is missing."""

import pytest
from tests.support import factories
from tests.support.checkpoints import change_json

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint.processors import backend, seen_as
from chiasm.models.loading import load, wrap

FILE = "processor_config.json"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("image_mean", [float("nan"), 0.5, 0.5], r"`image_mean\[0\]` in its preprocessor_config\.json is nan"),
        ("image_std", [0.0, 0.5, 0.5], r"`image_std` .* is \(0\.0"),
        ("rescale_factor", 0.0, "`rescale_factor`"),
        ("rescale_factor", float("inf"), "`rescale_factor`"),
    ],
)
def test_numbers_that_make_no_picture(copied, name, values, words):
    change_json(copied / FILE, lambda held: held["image_processor"].update({name: values}))
    with pytest.raises(ChiasmError, match=words):
        load(copied)


@pytest.mark.parametrize(
    ("name", "values"),
    [("size", {"height": 10**6, "width": 10**6}), ("crop_size", {"height": 9, "width": 20_000})],
)
def test_sizes_beyond_any_memory(copied, name, values):
    change_json(copied / FILE, lambda held: held["image_processor"].update({name: values}))
    with pytest.raises(ChiasmError, match=f"`{name}` in its preprocessor_config.json has"):
        load(copied)


def test_more_tokens_for_an_image_than_any_context(copied):
    change_json(copied / FILE, lambda held: held.update(num_additional_image_tokens=10**9))
    with pytest.raises(ChiasmError, match=r"`num_additional_image_tokens` .* is 1000000000"):
        load(copied)


def test_a_missing_patch_size_names_its_file_and_value(copied):
    change_json(copied / FILE, lambda held: held.update(patch_size=None))
    with pytest.raises(ChiasmError, match=r"`patch_size` is missing in its processor_config\.json.*config\.json has 7"):
        load(copied)


def test_a_patch_size_of_another_tower(copied):
    change_json(copied / FILE, lambda held: held.update(patch_size=14))
    with pytest.raises(ChiasmError, match=r"`patch_size` is 7 in its config\.json and 14 in its processor_config"):
        load(copied)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((), r"no file for the tokenizer \(tokenizer\.json .*; no file for images"),
        (("tokenizer.json", "tokenizer_config.json"), r"no file for images, videos or sounds \(processor_config\.json"),
        ((FILE,), r"no file for the tokenizer"),
    ],
)
def test_a_processor_without_files_names_them(copied, kept, words):
    for file in copied.iterdir():
        if file.name not in ("config.json", "model.safetensors", *kept):
            file.unlink()
    with pytest.raises(ChiasmError, match=words):
        load(copied)


def test_a_tokenizer_that_exists_only_slow(monkeypatch):
    model, processor = factories.build("llava")
    monkeypatch.setattr(type(processor.tokenizer), "is_fast", False)
    with pytest.raises(ChiasmError, match=r"does not say which characters.*tokenizer\.json is missing"):
        wrap(model, processor)


def test_a_placeholder_of_another_model(copied):
    change_json(copied / "config.json", lambda held: held.update(image_token_index=9))
    with pytest.raises(ChiasmError, match=r"the id of its image token is 9 in config\.json and 4 to its processor"):
        load(copied)


def test_what_computes_on_pixels_and_how_they_are_sized_is_said():
    own = factories.build("llava")[1]
    assert backend(own) == "pil (slow)"
    assert seen_as(own) == "resize, crop to 28 x 28"
    own.image_processor.do_center_crop = False
    assert seen_as(own) == "resize"
    assert backend(factories.build("qwen2_audio")[1]) == seen_as(factories.build("qwen2_audio")[1]) == ""
