"""From examples to what the model's forward accepts, one or several at a time, with the spans of their tokens."""

import functools
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example, check_boxes, require_usable
from chiasm.core.media import Clip, Sound, load_image
from chiasm.core.positions import Spans, concatenate
from chiasm.core.recordings import load_sound, load_video
from chiasm.core.text import reason_of
from chiasm.models.architecture import model_class
from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.models.encoding.prompts import Prompt, continuation, render, warn_once
from chiasm.models.encoding.sizes import require_patch_size, with_read_sizes
from chiasm.models.encoding.spans import (
    end_tokens,
    image_ends,
    image_parts,
    overlapping,
    partition,
    question_parts,
    recording_parts,
    unseen_objects,
    within,
)
from chiasm.models.families.base import Family, Medium
from chiasm.models.precision import is_rounded

_log: Final = logging.getLogger(__name__)

MAX_ASPECT = 200
"""Longest side over shortest. Qwen2-VL's processor refuses more; CLIP's would first stretch such an image to
millions of pixels and then look at its middle only."""


_REPORTED: Final = frozenset({"offset_mapping", "text_replacement_offsets"})


class DecodedMedia(NamedTuple):
    """What an example shows and plays, decoded."""

    images: tuple[Any, ...]
    clips: tuple[Clip, ...]
    sounds: tuple[Sound, ...]


def encode(
    processor: Any,
    family: Family,
    config: Any,
    example: Example,
    *,
    instruction: str = DEFAULT_INSTRUCTION,
    answer: str | None = None,
    ends: bool = False,
    overlap: float = 0.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Encoded:
    """`example` as this model takes it: a batch of one, never truncated.

    `answer` is teacher-forced after the prompt and gives the span `answer`; the top-level spans cover the prompt only.
    `ends`: the answer's last token is the tokenizer's end of sequence, as answers are trained.
    `overlap`: which share of a patch a box must cover for `image.object` (0: any; see `geometry.touched`).

    **Errors:** `ExampleError` for an image, video or sound that cannot be used, a question that writes control tokens,
    an answer without tokens, more tokens than the context holds, and whatever else goes wrong with this example;
    `ChiasmError` for a template or processor that does not fit.
    """
    require_usable(example)
    try:
        with only_this_example():
            return _encoded(processor, family, config, example, instruction, answer, ends, overlap, device, dtype)
    except ExampleError as error:
        # A run is shared; where its author keeps the data is not. Also for subclasses: `args` is the text.
        if example.within is not None:
            error.args = (str(error).replace(f"{example.within}/", ""),)
        raise


@contextmanager
def only_this_example() -> Iterator[None]:
    """What goes wrong while one example is prepared is that example's `ExampleError`, and ends no run.

    Processors and tokenizers raise any kind of error on inputs that nobody tried. What concerns every example passes:
    a `ChiasmError`, and a device without memory.
    """
    try:
        yield
    except (ChiasmError, ExampleError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        _log.debug("An example cannot be prepared.", exc_info=True)
        raise ExampleError(f"it cannot be prepared ({type(error).__name__}: {reason_of(error)})") from error


def _encoded(
    processor: Any,
    family: Family,
    config: Any,
    example: Example,
    instruction: str,
    answer: str | None,
    ends: bool,
    overlap: float,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Encoded:
    processor = with_read_sizes(processor)
    _check_media(example, family)
    media = _load_media(example, processor, family)
    if media.images:
        require_patch_size(processor, config)
        example = check_boxes(example, *media.images[0].size)
    prompt = render(processor, family, example.kinds, example.question, instruction)
    raw = family.completed_inputs(_process(processor, family, prompt, media), prompt.text, processor, config)
    raw.pop("video_metadata", None)
    offsets = np.asarray(raw.pop("offset_mapping"))[0]
    lead = _written_before(raw["input_ids"][0].numpy(), offsets, prompt, processor.tokenizer)
    placed, shift = _locate_media(raw, offsets, prompt, media, lead)
    layouts = tuple(family.layout(image, raw, processor, config) for image in placed["image"])
    frames = tuple(frame for clip in placed["video"] for frame in family.frames(clip, raw, processor, config))
    _require_numbers(raw)
    _say_shared_times(family, media.clips, config)
    inputs = _accepted(family, raw, config)
    perceived = {
        "image": concatenate(layout.positions for layout in layouts),
        "video": concatenate(frame.positions for frame in frames),
        "audio": concatenate(sound.positions for sound in placed["audio"]),
    }
    top, asked = _top_level(family, perceived, prompt, offsets, shift)
    spans = {
        **top,
        **image_parts(family, layouts, example, overlap),
        **_ends(family, layouts, raw, processor, config),
        **recording_parts(family, placed, frames),
        **question_parts(top["question"], offsets, asked, prompt.asked, example),
    }
    tokens: tuple[int, ...] = ()
    if answer is not None:
        tokens = answer_tokens(processor, continuation(processor, family, prompt, answer), prompt)
        tokens += (processor.tokenizer.eos_token_id,) if ends else ()
        spans["answer"] = len(offsets) + np.arange(len(tokens))
        inputs = append_tokens(inputs, tokens, family)
    length = len(offsets) + len(tokens)
    context = config.get_text_config(decoder=True).max_position_embeddings
    if length > context:
        raise ExampleError(f"{length} tokens do not fit the context of {context}")
    inputs = {key: moved(value, device, dtype if is_rounded(value) else None) for key, value in inputs.items()}
    unseen = unseen_objects(layouts, example)
    return Encoded(example.id, inputs, Spans(length, spans), prompt.text, media.images, layouts, tokens, frames, unseen)


def made_inputs(
    processor: Any,
    family: Family,
    config: Any,
    example: Example,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Any]:
    """What the processor makes of `example` for the model, without spans: for a processor that is being tried."""
    media = _load_media(example, processor, family)
    prompt = render(processor, family, example.kinds, example.question, DEFAULT_INSTRUCTION)
    inputs = _accepted(family, _process(processor, family, prompt, media), config)
    return {key: moved(value, device, dtype if is_rounded(value) else None) for key, value in inputs.items()}


def moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None = None) -> Any:
    """A tensor on `device` in `dtype`; what else a forward takes, such as counts of tiles, as it is."""
    return value.to(device, dtype) if isinstance(value, Tensor) else value


def batch_inputs(processor: Any, family: Family, config: Any, examples: Sequence[Example]) -> dict[str, Tensor]:
    """What the processor itself makes of several examples in one call, padded; a processor need not take that."""
    prompts = [render(processor, family, e.kinds, e.question, DEFAULT_INSTRUCTION) for e in examples]
    media = [_load_media(e, processor, family) for e in examples]
    texts = [prompt.given for prompt in prompts]
    given: dict[str, Any] = {}
    if media[0].images:
        given["images"] = [list(one.images) for one in media]
    if media[0].clips:
        given["videos"] = [[clip.frames for clip in one.clips] for one in media]
    if media[0].sounds:
        given |= {"audio": [s.samples for one in media for s in one.sounds], "sampling_rate": media[0].sounds[0].rate}
    call = family.processor_call({"text": texts, **given, "return_tensors": "pt"})
    return _accepted(family, dict(processor(**call, padding=True)), config)


def _accepted(family: Family, raw: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """What of a processor's answer the model's forward takes."""
    names = None if family.takes_all_inputs else accepted_inputs(type(config))
    given = {key: value for key, value in raw.items() if key not in _REPORTED}
    if names is None:
        return {key: value for key, value in given.items() if isinstance(value, Tensor)}
    taken = {key: value for key, value in given.items() if key in names and isinstance(value, Tensor | list)}
    return {**taken, **family.switches}


@functools.cache
def accepted_inputs(config_class: type) -> frozenset[str] | None:
    """The names that the architecture's forward declares; None for a class that transformers does not map.

    Anything else would travel through `**kwargs` down to the layers.
    """
    known = model_class(config_class)
    if known is None:
        return None
    # Some processors write labels, which only training wants.
    return frozenset(inspect.signature(known.forward).parameters) - {"labels"}


def _check_media(example: Example, family: Family) -> None:
    given = {"image": example.images, "video": example.videos, "audio": example.audios}
    wrong = [kind for kind, items in given.items() if items and kind not in family.modalities]
    if wrong:
        takes = " and ".join(sorted(family.modalities))
        raise ExampleError(f"it brings {' and '.join(wrong)}, but `{family.name}` takes text and {takes}")
    if family.max_images is not None and len(example.images) > family.max_images:
        raise ExampleError(f"it brings {len(example.images)} images, but `{family.name}` takes {family.max_images}")


def _load_media(example: Example, processor: Any, family: Family) -> DecodedMedia:
    images = tuple(load_image(image) for image in example.images)
    clips = tuple(load_video(video, family.max_frames) for video in example.videos)
    sizes = [image.size for image in images] + [clip.frames.shape[2:0:-1] for clip in clips]
    for width, height in sizes:
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ExampleError(f"an image or frame is {width} x {height}: more than {MAX_ASPECT} to 1")
    limit = family.max_audio_seconds(processor) if example.audios else None
    sounds = tuple(load_sound(sound, _listening(processor).sampling_rate, limit) for sound in example.audios)
    return DecodedMedia(images, clips, sounds)


def _listening(processor: Any) -> Any:
    """The part that makes inputs of sounds, under either of its names."""
    return getattr(processor, "feature_extractor", None) or processor.audio_processor


def _ends(
    family: Family, layouts: Sequence[ImageLayout], raw: Mapping[str, Any], processor: Any, config: Any
) -> dict[str, np.ndarray]:
    if "image" not in family.modalities:
        return {}
    return image_ends(layouts, raw["input_ids"][0].numpy(), end_tokens(processor, config))


def _require_numbers(raw: Mapping[str, Any]) -> None:
    """A processor can make NaN of any image (a mean or deviation that no type holds); every answer would be empty."""
    for key, value in raw.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise ExampleError(f"its processor makes NaN or infinite values of it (`{key}`)")


def _say_shared_times(family: Family, clips: Sequence[Clip], config: Any) -> None:
    """Say of frames that the model takes for frames of one moment; once for each family."""
    for clip in clips:
        times = family.frame_times(clip.shown_at, clip.fps, config)
        if len(set(times)) < len(times):
            warn_once(
                f"`{family.name}` is told too little of when frames are shown to tell all of them apart: of a video's "
                f"{len(times)} frames (as it merges them) {len(times) - len(set(times))} have the time of another. "
                "Their order stays. Videos with fewer frames to the second keep them apart."
            )


def _process(processor: Any, family: Family, prompt: Prompt, media: DecodedMedia) -> dict[str, Any]:
    bos = processor.tokenizer.bos_token
    images = list(media.images)
    given: dict[str, Any] = {"images": ([images] if family.one_prompt else images) if images else None}
    if media.clips:
        # Frames are chosen already; when they were shown is written into prompts or positions by some, who divide
        # indices by the rate.
        times = [
            {
                "total_num_frames": len(clip.frames),
                "fps": clip.fps,
                "frames_indices": (clip.shown_at * clip.fps).round(6).tolist(),
            }
            for clip in media.clips
        ]
        clips = [clip.frames for clip in media.clips]
        given |= {"videos": [clips] if family.one_prompt else clips, "do_sample_frames": False}
        given |= {"video_metadata": times, "return_metadata": True}
    if media.sounds:
        given |= {"audio": [sound.samples for sound in media.sounds], "sampling_rate": media.sounds[0].rate}
    try:
        call = {
            "text": [prompt.given],
            **given,
            "return_tensors": "pt",
            "return_offsets_mapping": True,
            "return_text_replacement_offsets": True,
            "truncation": False,
            # A template that writes the first token itself must not get a second one.
            "add_special_tokens": bos is None or not prompt.given.startswith(bos),
        }
        raw = processor(**family.processor_call(call))
    except NotImplementedError as error:
        raise ChiasmError(
            "to map characters to tokens", f"the tokenizer has no offsets ({error})", "Use a fast tokenizer"
        ) from error
    except (ValueError, RuntimeError) as error:
        # As for videos of different lengths in one prompt, or tiles that do not stack.
        raise ExampleError(f"its processor does not take it ({reason_of(error)})") from error
    return dict(raw)


def _locate_media(
    raw: dict[str, Any], offsets: np.ndarray, prompt: Prompt, media: DecodedMedia, lead: int
) -> tuple[dict[str, list[Medium]], int]:
    """The tokens of each input by kind, and how far the question moved when placeholders were written out.

    `lead`: characters that the processor wrote before the prompt.
    """
    ids = raw["input_ids"][0].numpy()
    shift = lead
    placed: dict[str, list[Medium]] = {"image": [], "video": [], "audio": []}
    # Of a prompt that shows and plays nothing, some processors make an empty tensor.
    replaced = raw.pop("text_replacement_offsets", [[]])
    for place in replaced[0] if len(replaced) else []:
        start, stop = place["new_span"]
        # Where no character shows them, they have been found by their ids.
        positions = place.get("positions", within(offsets, start, stop))
        kind = placed[place["type"]]
        kind.append(Medium(len(kind), positions, ids[positions], *_size(media, place["type"], len(kind))))
        if place["span"][1] <= prompt.question[0] + lead:
            shift = lead + stop - place["span"][1]
    found = tuple(len(kind) for kind in placed.values())
    if found != tuple(map(len, media)):
        raise ChiasmError(
            "to find images, videos and sounds in the prompt",
            f"the processor wrote {found} of them into it, the example has {tuple(map(len, media))}",
            "Check that the chat template belongs to this processor",
        )
    return placed, shift


def _written_before(ids: np.ndarray, offsets: np.ndarray, prompt: Prompt, tokenizer: Any) -> int:
    """Characters that the processor itself wrote before the prompt: those of the first token, where it adds that.

    What the tokenizer adds stands for no character.
    """
    start, first = tokenizer.bos_token, int(np.argmax(offsets[:, 1] > offsets[:, 0]))
    if start is None or prompt.text.startswith(start) or int(ids[first]) != tokenizer.bos_token_id:
        return 0
    return len(start) if offsets[first].tolist() == [0, len(start)] else 0


def _size(media: DecodedMedia, kind: str, index: int) -> tuple[int, ...]:
    match kind:
        case "image":
            return media.images[index].size
        case "video":
            frames = media.clips[index].frames
            return frames.shape[2], frames.shape[1], len(frames)
    return ()


def _top_level(
    family: Family, perceived: Mapping[str, np.ndarray], prompt: Prompt, offsets: np.ndarray, shift: int
) -> tuple[dict[str, np.ndarray], int]:
    """The spans that partition the prompt, and where the question begins in the characters that `offsets` count."""
    start, stop = (place + shift for place in prompt.question)
    asked = overlapping(offsets, start, stop)
    # Where an empty question would stand: at the first token that ends behind its place.
    behind = asked if len(asked) else np.flatnonzero(offsets[:, 1] > start)
    anchor = int(behind[0]) if len(behind) else len(offsets) - 1
    taken = {kind: positions for kind, positions in perceived.items() if kind in family.modalities}
    return partition(len(offsets), taken, asked, anchor), start


def answer_tokens(processor: Any, written: str, prompt: Prompt) -> tuple[int, ...]:
    """Token ids of the answer as `written` after the prompt, whose own tokens stay as they are."""
    joined = processor.tokenizer(prompt.text + written, add_special_tokens=False, return_offsets_mapping=True)
    places, end = joined["offset_mapping"], len(prompt.text)
    if any(start < end < stop for start, stop in places):
        ids = processor.tokenizer(written, add_special_tokens=False)["input_ids"]
    else:
        ids = [i for i, (start, stop) in zip(joined["input_ids"], places, strict=True) if start >= end and stop > start]
    if not ids or not written.strip():
        raise ExampleError("the answer has no token")
    return tuple(ids)


def first_tokens(
    processor: Any, family: Family, example: Example, words: Sequence[str], *, instruction: str
) -> dict[str, int]:
    """For each of `words` the token id that it begins with right after the prompt; words without a token are left out.

    A tokenizer may write a word at the start of the answer otherwise than inside a text, so it is tokenised in place.
    """
    prompt = render(processor, family, example.kinds, example.question, instruction)
    found = {}
    for word in words:
        try:
            found[word] = answer_tokens(processor, continuation(processor, family, prompt, word), prompt)[0]
        except ExampleError:
            continue  # no token, or control tokens: there is nothing to follow
    return found


def append_tokens(inputs: Mapping[str, Any], tokens: Sequence[int], family: Family) -> dict[str, Any]:
    """The inputs (on the CPU) of a batch of one with text tokens after the prompt."""

    def longer(key: str, row: Tensor) -> Tensor:
        if key == "input_ids":
            return torch.cat([row, torch.tensor([tokens], dtype=row.dtype)], dim=1)
        if row.ndim > 2:
            # Which image a row attends to: as the prompt's last one.
            return torch.cat([row, row[:, -1:].expand(-1, len(tokens), *row.shape[2:])], dim=1)
        return F.pad(row, (0, len(tokens)), value=family.row_value(key))

    return {key: longer(key, value) if key in family.row_inputs else value for key, value in inputs.items()}
