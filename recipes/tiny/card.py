"""The model card: measured into `weights/card.json`, and written from it, so that no figure is typed by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from recipes.tiny.evaluate import WORLDS, accuracy, world_of, zero_shot

from chiasm.core.statistics.intervals import proportion_interval
from chiasm.tiny.registry import MODELS, NAMES, SHIPPED, names, sources
from chiasm.tiny.store import directory

CARD: Final = SHIPPED.parent / "MODEL_CARD.md"
JSON: Final = SHIPPED / "card.json"
MACHINE: Final = "one core of an AMD EPYC, shared with other work, no GPU"
_SEED: Final = 1
# Which models are also asked with nothing to see or hear, and which about captions instead, of which worlds.
_BLANKED: Final = ("tiny", "tiny@video", "tiny@audio")
_CAPTIONED: Final = {"tiny@text": tuple(WORLDS), "tiny": ("scenes",)}
# In this order, then the variants by name.
_STAGES: Final = ("tower", "recall", "text", "aligned", "instruct")
# What a reader of the figures must know about how these weights came about; empty after an uninterrupted `make`.
NOTE: Final = (
    "The decoder was not made by one run of the recipe. Its layers, and the embeddings of the words that were "
    "known before, start the text stage from the text decoder of the release before this one; the words for "
    "moving scenes, sounds and other domains start at random. The stage then ran for 1700 steps in parts: planned"
    " as 900 steps, it was lengthened to 1200 at step 560, to 1500 at step 850 and to 1700 at step 1300, each "
    "time with the learning rate of the longer plan, and the mix was given more moving scenes, sounds and random "
    "words at steps 560 and 640, and notes on them at step 1000. The recipe holds the final mix from the start, "
    "so running it gives other weights. The recall stage was run from nothing as the recipe has it, and is listed"
    " above, but its decoder is not the one shipped: at its end it named, of three to six objects described in a "
    "caption, the colour of 100 %, the size of 89 % and the row of 60 %, on training scenes. Everything else was "
    "made by the recipe on top of that text decoder."
)

Measured = dict[str, Any]


def write_card(root: Path, each: int, machine: str = MACHINE) -> Measured:
    """Measures every shipped model on held-out examples and writes the JSON and the card; returns what was measured.

    `each` questions per type for the finished model, half of them for everything else. What was measured of the same
    weights before is kept.
    """
    known = json.loads(JSON.read_text()) if JSON.exists() else {}
    before = known.get("measured", {})
    measured: Measured = {}
    for name in names():
        made = digest(name)
        kept = before.get(name, {})
        measured[name] = kept if kept.get("weights") == made else {"weights": made, **_measure(name, each)}
        print(name, measured[name].get("media", {}).get("right"), flush=True)
    card: Measured = {
        "seed": _SEED,
        "split": "heldout",
        "machine": machine,
        "note": NOTE,
        "measured": measured,
        "stages": _stages(root) or known.get("stages", {}),
    }
    JSON.write_text(json.dumps(card, indent=1) + "\n")
    CARD.write_text(render(card))
    return card


def digest(name: str) -> str:
    """A hash of the weights of a model and of those it is built on."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources(name))).hexdigest()[:16]


def _measure(name: str, each: int) -> Measured:
    where = directory(name)
    if MODELS[name].kind == "clip":
        return {"zero_shot": zero_shot(where, each, _SEED)}
    count = each if name == "tiny" else max(1, each // 2)
    found: Measured = {"world": world_of(where), "media": accuracy(where, "media", count, _SEED)}
    if name in _BLANKED:
        found["blank"] = accuracy(where, "blank", count, _SEED)
    captioned = {
        world: accuracy(where, "caption", max(1, each // 2), _SEED, world) for world in _CAPTIONED.get(name, ())
    }
    return found | ({"captions": captioned} if captioned else {})


def _stages(root: Path) -> dict[str, dict[str, float]]:
    """The last line of every finished stage's log."""
    ended = [path.parent for path in sorted(root.glob("*/done.json"))]
    logs = {path.name: (path / "log.jsonl").read_text().splitlines() for path in ended}
    order = [*(stage for stage in _STAGES if stage in logs), *(stage for stage in logs if stage not in _STAGES)]
    return {stage: json.loads(logs[stage][-1]) for stage in order if logs[stage]}


def share(part: Measured) -> str:
    """The share of right answers in words."""
    return f"{100 * part['right'] / part['n']:.1f} %"


def between(part: Measured) -> str:
    """The share of right answers and its 95 % interval (Wilson), in words."""
    found = proportion_interval(part["right"], part["n"])
    return f"{share(part)} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _types(card: Measured, name: str) -> list[str]:
    """A table by type: right, with a blank input, the most common answer."""
    own, blank = card["measured"][name]["media"], card["measured"][name]["blank"]
    each = next(iter(own["types"].values()))["n"]
    lines = [
        f"| type ({each} questions each) | right | with a blank input | most common answer |",
        "|---|---|---|---|",
    ]
    for kind, seen in own["types"].items():
        most = {"right": seen["majority"], "n": seen["n"]}
        lines.append(f"| {kind} | {between(seen)} | {share(blank['types'][kind])} | {share(most)} |")
    return [*lines, f"| all | {between(own)} | {share(blank)} | |", ""]


def _variants(card: Measured) -> list[str]:
    lines = ["| name | what it is | right | questions |", "|---|---|---|---|"]
    for name, about in NAMES.items():
        seen = card["measured"].get(name, {}).get("media")
        if seen is not None:
            lines.append(f"| `{name}` | {about} | {between(seen)} | {seen['n']} |")
    return [*lines, ""]


def _from_captions(card: Measured) -> list[str]:
    lines = ["| name | world | type | right | questions |", "|---|---|---|---|---|"]
    for name in _CAPTIONED:
        for world, answered in card["measured"].get(name, {}).get("captions", {}).items():
            lines.append(f"| `{name}` | `{world}` | all | {between(answered)} | {answered['n']} |")
            for kind, part in answered["types"].items():
                lines.append(f"| | | {kind} | {share(part)} | {part['n']} |")
    return [*lines, ""]


def _trained(card: Measured) -> list[str]:
    lines = ["| stage | steps | minutes |", "|---|---|---|"]
    lines += [
        f"| {stage} | {last['step']:.0f} | {last['seconds'] / 60:.0f} |" for stage, last in card["stages"].items()
    ]
    tower = card["stages"].get("tower")
    if tower is not None:
        named = ", ".join(f"{word} {100 * tower[word]:.1f} %" for word in ("shape", "color", "size", "row", "column"))
        lines += ["", f"The tower's patches name, on training scenes at the end of its stage: {named}."]
    return [*lines, ""]


def render(card: Measured) -> str:
    """The card in Markdown, a pure function of what was measured."""
    named = card["measured"]["tiny@tower"]["zero_shot"]
    both, color, shape = ({"right": named[key], "n": named["n"]} for key in ("both", "color", "shape"))
    lines = [
        "# The embedded model `tiny`",
        "",
        "A real `LlavaForConditionalGeneration`: a CLIP vision tower (4 layers x 96, 96 x 96 pixels, 36 patches), a",
        "two-layer GELU projector, a Llama decoder (6 layers x 128). It answers GQA's six types of questions on the",
        "procedural world `scenes`, and is made to be studied, not to be used on photographs.",
        "",
        f"All figures: held-out examples (split by a hash of their content), seed {card['seed']}, greedy generation in",
        "float32, an answer right when it equals the label, case aside. In brackets the 95 % interval (Wilson), in %.",
        "",
        "## Accuracy",
        "",
        *_types(card, "tiny"),
        "In every type one answer is right half of the time, whatever the question says: the most common answer and",
        "the best guess without the input are the same.",
        "",
        "## Stages and variants",
        "",
        *_variants(card),
    ]
    for name in _BLANKED[1:]:
        if name in card["measured"]:
            lines += [f"`{name}`, by type:", "", *_types(card, name)]
    lines += [
        "What is answered from captions, nothing shown:",
        "",
        *_from_captions(card),
        f"Zero-shot, the tower's contrastive head picks the name of a single object among {named['names']} (such as",
        f'"a red circle"): {share(both)} right of {named["n"]}; its colour {share(color)}, its shape {share(shape)}.',
        "",
        "## Training",
        "",
        f"Machine: {card['machine']}.",
        "",
        *_trained(card),
    ]
    if card["note"]:
        lines += [card["note"], ""]
    lines += ["`make train-tiny` makes all of it from nothing; `--stage card` measures this page again.", ""]
    return "\n".join(lines)
