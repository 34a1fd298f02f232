"""Command lines of the version before, in today's words, each with a notice; goes with the next version."""

import sys

_FLAGS = {"align": {"--apart": "--isolated-blocks"}, "project": {"--output": "--released-prompt"}}


def in_todays_words(arguments: list[str]) -> list[str]:
    """`align --compare A B` is `compare A B`, `align --paper` is `paper`, and some flags have other names."""
    verb, words = arguments[:1], arguments[1:]
    if verb == ["align"]:
        several = any(_flag(word) == "--compare" for word in words)
        for form in ("--paper", "--compare"):
            if any(_flag(word) == form for word in words):
                if form == "--paper" and not several and words[:1] == ["tiny"]:
                    words = words[1:]  # it stood for all embedded models
                verb = [form.removeprefix("--")]
                _notice(f"align {form}", verb[0])
                break
        if verb != ["align"]:
            named = [word.partition("=")[2] if _flag(word) == "--compare" else word for word in words]
            words = [word for word in named if word and word != "--paper"]
    former = _FLAGS.get(verb[0], {}) if verb else {}
    for old, new in former.items():
        if any(_flag(word) == old for word in words):
            words = [new + word.removeprefix(old) if _flag(word) == old else word for word in words]
            _notice(old, new)
    return [*verb, *words]


def _flag(word: str) -> str:
    return word.partition("=")[0]


def _notice(old: str, new: str) -> None:
    print(f"chiasm: `{old}` is `{new}` now; the old form goes with the next version.", file=sys.stderr)
