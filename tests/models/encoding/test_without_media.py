"""A question that shows and plays nothing is encoded as words alone, or is a bad example; it never ends a run."""

import numpy as np
import pytest
from tests.support.factories import EVERY, build

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.core.spans import TOP_LEVEL
from chiasm.models.view import ModelView

# Their processors or layers want a picture.
INSISTING = {"blip_2", "instructblip", "mllama", "paligemma"}


@pytest.mark.parametrize("name", EVERY)
def test_a_question_alone_is_encoded_or_a_bad_example(name):
    view = ModelView(*build(name))
    asked = Example(id="words", question="What colour is the sky?")
    if name in INSISTING:
        with pytest.raises(ExampleError, match="image"):
            view.encode(asked)
        return
    encoded = view.encode(asked)
    top = [encoded.spans[span] for span in TOP_LEVEL if span in encoded.spans]
    assert np.array_equal(np.sort(np.concatenate(top)), np.arange(encoded.length))
    assert not any(len(encoded.spans[kind]) for kind in view.family.modalities)
    assert len(encoded.spans["question"]) > 0
