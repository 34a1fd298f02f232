"""Answer options as the question names them."""

import re


def in_question_order(question: str, first: str, second: str) -> tuple[str, str]:
    """The two options in the order in which `question` offers them.

    GQA's program and the paper's files put the right answer first, so their order would give it away. Options are
    looked up around `or` as whole words ("hat" also stands in "What", "right" twice in "to the right or to the left
    of the chair on the right side"), then as parts of words (the option is "elephant", the question has "elephants").
    Where the question does not tell, they are in alphabetical order.
    """
    pairs = ((first, second), (second, first))
    for edge in (r"\b", ""):
        offered = [(a, b) for a, b in pairs if re.search(_offer(a, b, edge), question, re.IGNORECASE)]
        if len(offered) == 1:
            return offered[0]
    return min(pairs)


def _offer(a: str, b: str, edge: str) -> str:
    return rf"{edge}{re.escape(a)}{edge}.*?\bor\b.*?{edge}{re.escape(b)}{edge}"
