"""The classification prompt, and from a generated text to one of the classes, or to none.

Source of the prompt: Verma et al. 2024, section 2. Their parser was not released: the rules here are our own.
"""

import random
import re
import unicodedata
from collections.abc import Sequence

_QUOTES = str.maketrans("", "", "\"'`“”‘’«»*")
_LEADS = ("output", "answer", "label", "class", "category", "classification", "final classification label")


def classify(topic: str, classes: Sequence[str], seed: str, output: bool = False) -> str:
    """The paper's prompt with the classes in an order drawn by `seed`, each in double quotes.

    `output`: also the released code's ending, "Output:", which the paper does not show.
    """
    order = random.Random(f"classes/{seed}").sample(list(classes), len(classes))
    listed = ", ".join(f'"{label}"' for label in order)
    asked = (
        f"Classify this image into one of the following categories relating to {topic}: {listed}. "
        "Only output a single final classification label and NOTHING ELSE."
    )
    return f"{asked}\n\nOutput:" if output else asked


def parsed(text: str, classes: Sequence[str]) -> str | None:
    """The class that `text` names; None where it names none or several, which counts as wrong and is reported.

    In order: (1) both sides are normalised (see `normalised`), and a lead such as "Output:" is dropped; (2) equal to
    a class; (3) else the classes that occur as whole words, where one that lies inside a longer one that occurs there
    does not count: if exactly one class is left, it is that one.
    """
    names = {normalised(label): label for label in classes}
    said = normalised(re.sub(rf"^\W*(?:{'|'.join(_LEADS)})\s*(?:is)?\s*:", "", text.strip(), flags=re.IGNORECASE))
    if said in names:
        return names[said]
    found = set()
    covered = said
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(name)}(?!\w)"
        if re.search(pattern, covered):
            found.add(names[name])
            covered = re.sub(pattern, "\0", covered)
    return found.pop() if len(found) == 1 else None


def normalised(text: str) -> str:
    """NFKC, lower case, without quotes; underscores, hyphens and runs of space are one space; no dots at the ends."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_QUOTES)
    return re.sub(r"[\s_\-]+", " ", plain).strip(" .,:;!?\n")
