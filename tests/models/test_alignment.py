"""Characters and inputs found by ids where a processor does not say where they are."""

import numpy as np
import pytest
from tests.support.tokenizers import named_tokenizer

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.alignment import aligned, located

TOKENIZER = named_tokenizer(420, {"image_token": "<image>"}, ("<mark>",))
TEXT = "USER: <image> What color is it? ASSISTANT:"


def ids(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def words(found, text, chosen):
    return [text[slice(*found.offsets[k])] for k in chosen]


def test_the_end_of_a_prompt_keeps_its_characters_whatever_came_before():
    image = TOKENIZER.image_token_id
    written = [image] * 6 + [TOKENIZER.bos_token_id] + ids("USER: ") + ids(TEXT.partition("<image>")[2])
    found = aligned(np.array(written), TEXT, TOKENIZER)
    tail = range(found.head, len(written))
    assert "".join(words(found, TEXT, tail)) == TEXT.partition("<image>")[2]
    assert not found.offsets[: found.head].any()


def test_what_a_processor_writes_behind_stands_for_no_character():
    written = [*ids(TEXT.replace("<image>", "<image><image>")), TOKENIZER.eos_token_id]
    found = aligned(np.array(written), TEXT, TOKENIZER)
    assert found.offsets[-1].tolist() == [len(TEXT), len(TEXT)]
    assert words(found, TEXT, [len(written) - 2])[0].endswith(":")


def test_a_newline_at_the_end_may_be_left_out():
    found = aligned(np.array(ids(TEXT)), TEXT + "\n", TOKENIZER)
    assert words(found, TEXT, [len(ids(TEXT)) - 1])[0].endswith(":")


def test_inputs_lie_where_their_ids_are():
    image, mark = TOKENIZER.image_token_id, TOKENIZER.convert_tokens_to_ids("<mark>")
    two = np.array([image] * 3 + [mark] + [image] * 2 + ids(" What color is it? ASSISTANT:"))
    said = located(two, TEXT, TOKENIZER, {"image": 2}, {"image": (image,)})
    assert [place["positions"].tolist() for place in said["text_replacement_offsets"][0]] == [[0, 1, 2], [4, 5]]
    (whole,) = located(two, TEXT, TOKENIZER, {"image": 1}, {"image": (image,)})["text_replacement_offsets"][0]
    assert whole["positions"].tolist() == [0, 1, 2, 4, 5]
    with pytest.raises(ExampleError, match="which of 3 x image"):
        located(two, TEXT, TOKENIZER, {"image": 3}, {"image": (image,)})


def test_a_prompt_that_ends_in_other_tokens_is_refused():
    with pytest.raises(ChiasmError, match="ends the prompt with other tokens"):
        aligned(np.array(ids("something else") * 3), TEXT, TOKENIZER)
