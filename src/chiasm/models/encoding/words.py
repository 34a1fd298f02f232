"""First tokens of words where the answer would start."""

from collections.abc import Sequence

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.models.encoding.encode import answer_tokens
from chiasm.models.encoding.prompts import continuation, render
from chiasm.models.view import ModelView


def first_tokens(view: ModelView, example: Example, words: Sequence[str], *, instruction: str) -> dict[str, int]:
    """For each of `words` the token id that it begins with right after the prompt; words without a token are left out.

    A tokenizer may write a word at the start of the answer otherwise than inside a text, so it is tokenised in place.
    """
    prompt = render(view.processor, view.family, example.kinds, example.question, instruction)
    found = {}
    for word in words:
        try:
            written = continuation(view.processor, view.family, prompt, word)
            found[word] = answer_tokens(view.processor, written, prompt)[0]
        except ExampleError:
            continue  # no token, or control tokens: there is nothing to follow
    return found
