"""From characters and image tokens to named positions.

The rules, which the results of a study depend on:

- A token belongs to the question when its characters overlap the question's. Where a tokenizer joins the question's
  last character with the newline after it (Qwen2 writes `?\\n` as one token), that token is the question's.
- `prefix` is what comes before both the first perceptual token and the question; `suffix` what comes after both, that
  is the newline after the question (where it is a token of its own), the instruction, the end of the user's turn and
  the start of the model's. What lies between (newlines, role tokens, marks around images, text between two images) is
  `between`. `last` is the final prompt token, whatever it is.
- `image` holds every token that stands for an image, newline tokens included; `video` and `audio` likewise. Marks
  around them (`<|vision_start|>`, time stamps between frames) are not part of them; the one that ends an image is
  `image.end`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Int

from chiasm.core.example import Example
from chiasm.core.positions import concatenate
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.geometry import touched

# Names that processors and tokenizers have for the token behind an image, and configurations for its id.
_END_TOKENS: Final = (
    *("image_end_token", "end_image_token", "end_of_img_token", "eoi_token"),
    *("vision_end_token", "vision_eos_token", "fake_image_token"),
)
_END_IDS: Final = ("image_end_token_id", "vision_end_token_id", "eoi_token_index")

Offsets = Int[np.ndarray, "T 2"]  # (start, stop) characters of each token; (0, 0) for tokens added by the tokenizer


def overlapping(offsets: Offsets, start: int, stop: int) -> Int[np.ndarray, " n"]:
    """Positions of the tokens that share a character with `start`..`stop`, and of those between them."""
    hit = np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start) & (offsets[:, 1] > offsets[:, 0]))
    return np.arange(hit[0], hit[-1] + 1) if len(hit) else hit


def within(offsets: Offsets, start: int, stop: int) -> Int[np.ndarray, " n"]:
    """Positions of the tokens whose characters all lie in `start`..`stop`."""
    return np.flatnonzero((offsets[:, 0] >= start) & (offsets[:, 1] <= stop) & (offsets[:, 1] > offsets[:, 0]))


def partition(
    length: int, perceived: Mapping[str, np.ndarray], question: Int[np.ndarray, " q"], anchor: int
) -> dict[str, np.ndarray]:
    """The top-level spans of a prompt of `length` tokens: disjoint, and together all of it.

    `perceived`: the positions of what the model perceives, by kind. `anchor`: the position where the question
    stands, or would stand were it not empty.
    """
    everything = np.arange(length)
    last = everything[-1:]
    kinds = {kind: np.setdiff1d(positions, last) for kind, positions in perceived.items()}
    question = np.setdiff1d(question, last)
    named = np.concatenate([*kinds.values(), question])
    marks, ends = np.append(named, anchor), np.append(named, anchor - 1)
    rest = np.setdiff1d(everything, np.append(named, last))
    return {
        "prefix": rest[rest < marks.min()],
        **kinds,
        "between": rest[(rest >= marks.min()) & (rest <= ends.max())],
        "question": question,
        "suffix": rest[(rest >= marks.min()) & (rest > ends.max())],
        "last": last,
    }


def image_parts(
    family: Family, layouts: Sequence[ImageLayout], example: Example, overlap: float
) -> dict[str, np.ndarray]:
    """Sub-spans of `image`: each image, the objects asked about (on the first image), and the family's own parts.

    `image.base`, `image.hd` and `image.newline` are disjoint; `image.other` is all that is neither object nor newline,
    and empty where no object has a box.
    """
    if "image" not in family.modalities:
        return {}
    positions = concatenate(layout.positions for layout in layouts)
    newline = concatenate(layout.newline for layout in layouts).astype(bool)
    tile = np.concatenate([np.empty(0, dtype=str), *(layout.tile for layout in layouts)])
    under = np.zeros(len(positions), dtype=bool)
    if layouts:
        first = layouts[0]
        under[: len(first.positions)] = touched(first.rects, example.boxes, first.width, first.height, overlap)
    # Queries read an image as a whole: none of them stands for an object.
    placed = np.concatenate([np.empty(0, dtype=bool), *(np.full(len(o.rects), o.has_places) for o in layouts)])
    own = {"newline": newline, "base": (tile == "base") & ~newline, "hd": (tile == "hd") & ~newline}
    return {
        **{f"image[{i}]": layout.positions for i, layout in enumerate(layouts)},
        "image.object": positions[under],
        # Without boxes no object is known, and so no rest: all of the image would pass for the rest.
        "image.other": positions[~under & ~newline & placed & bool(example.boxes)],
        **{f"image.{name}": positions[own[name]] for name in family.image_sub_spans},
    }


def unseen_objects(layouts: Sequence[ImageLayout], example: Example) -> tuple[str, ...]:
    """Names of the objects that lie outside what the tokens of the first image see; none where these have no places."""
    if not layouts or not layouts[0].has_places:
        return ()
    first = layouts[0]
    boxes = [box for box in example.boxes if not touched(first.rects, (box,), first.width, first.height).any()]
    return tuple(dict.fromkeys(box.name for box in boxes))


def end_tokens(processor: Any, config: Any) -> frozenset[int]:
    """Ids of the tokens that end an image, under the names that processors, tokenizers and configurations have."""
    texts = [getattr(owner, name, None) for owner in (processor, processor.tokenizer) for name in _END_TOKENS]
    named = [getattr(config, name, None) for name in _END_IDS]
    known = processor.tokenizer.get_vocab()
    return frozenset(known[str(text)] for text in texts if str(text) in known) | {
        i for i in named if isinstance(i, int)
    }


def image_ends(
    layouts: Sequence[ImageLayout], ids: Int[np.ndarray, " T"], ends: frozenset[int]
) -> dict[str, np.ndarray]:
    """The span `image.end`: the token that ends each image; no such span where the model has none.

    It is text to the model, and part of `between` or `suffix` (of `image` where it is the break of the last row, as
    Pixtral's): through it alone image reaches text in some models that read and write images (Serra et al. 2024).
    """
    if not ends:
        return {}
    lasts = [int(layout.positions[-1]) for layout in layouts if len(layout.positions)]
    behind = [next((p for p in (last, last + 1) if p < len(ids) and int(ids[p]) in ends), None) for last in lasts]
    return {"image.end": np.array([p for p in behind if p is not None], dtype=np.int64)}


def recording_parts(
    family: Family, placed: Mapping[str, Sequence[Medium]], frames: Sequence[ImageLayout]
) -> dict[str, np.ndarray]:
    """Sub-spans of `video` and `audio`: each of several, and the frames, counted through all videos."""
    shown, where = {}, concatenate(frame.positions for frame in frames)
    for clip in placed["video"]:
        shown[f"video[{clip.index}]"] = np.intersect1d(clip.positions, where)
    # A clip whose frames are not told apart has none to name.
    if any(frame.has_places for frame in frames):
        shown |= {f"video.frame[{i}]": frame.positions for i, frame in enumerate(frames)}
    return shown | {f"audio[{sound.index}]": sound.positions for sound in placed["audio"]}


def question_parts(
    question: Int[np.ndarray, " q"], offsets: Offsets, start: int, asked: str, example: Example
) -> dict[str, np.ndarray]:
    """Sub-spans of `question`: the option words, the true and the false ones among them, and the objects' names.

    `start`: where the question's text `asked` begins in the characters that `offsets` count. The true option is the
    one equal to the answer, case ignored; where none is, neither `true` nor `false` is known and both are empty.
    """
    options = find_words(asked, example.options)
    answer = example.answer.strip().casefold()
    true = [option for option in options if option.strip().casefold() == answer]
    false = [option for option in options if option not in true] if true else []
    objects = find_words(asked, [box.name for box in example.boxes])

    def tokens(places: Mapping[str, list[tuple[int, int]]], names: Sequence[str]) -> np.ndarray:
        found = [overlapping(offsets, start + a, start + b) for name in names for a, b in places[name]]
        return np.intersect1d(concatenate(found), question)

    return {
        "question.options": tokens(options, list(options)),
        "question.option.true": tokens(options, true),
        "question.option.false": tokens(options, false),
        "question.objects": tokens(objects, list(objects)),
    }


def find_words(text: str, words: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Where each of `words` stands in `text` as whole words, case ignored: all occurrences, as (start, stop).

    Where two of them compete for the same place (`blue`, `light blue`) the longer one has it.
    """
    found: dict[str, list[tuple[int, int]]] = {word: [] for word in words}
    by_name = {word.strip().casefold(): word for word in words if word.strip()}
    if not by_name:
        return found
    longest_first = sorted({word.strip() for word in words if word.strip()}, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE):
        word = by_name.get(match.group().casefold())
        if word is not None:
            found[word].append(match.span())
    return found
