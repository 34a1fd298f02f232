"""Command lines of the version before, in today's words, each with a notice; goes with the next version."""

import sys

_FLAGS = {"--apart": "--isolated-blocks", "--output": "--released-prompt"}


def in_todays_words(arguments: list[str]) -> list[str]:
    """`align --compare A B` is `compare A B`, `align --paper` is `paper`, and some flags have other names."""
    words = list(arguments)
    if words[:1] == ["align"] and "--paper" in words:
        words = [
            "paper",
            *(
                w
                for w in words[1:]
                if w not in ("--paper", "--compare") and not (w == "tiny" and "--compare" not in words)
            ),
        ]
        _notice("align --paper", "paper")
    elif words[:1] == ["align"] and "--compare" in words:
        words = ["compare", *(w for w in words[1:] if w != "--compare")]
        _notice("align --compare", "compare")
    for old, new in _FLAGS.items():
        if old in words:
            words = [new if word == old else word for word in words]
            _notice(old, new)
    return words


def _notice(old: str, new: str) -> None:
    print(f"chiasm: `{old}` is `{new}` now; the old form goes with the next version.", file=sys.stderr)
