"""Videos and sounds as model inputs: their spans, where frames look, batches of different lengths, refusals."""

import numpy as np
import pytest
import torch
from tests.support.factories import example
from tests.support.factories_senses import clip, sound
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, job, outcomes, view_of

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.spans import TOP_LEVEL
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor

BOTH = ("llava_next_video", "qwen2_audio")


def test_frames_partition_their_video_in_order():
    view = view_of("llava_next_video")
    rng = np.random.default_rng(0)
    found = view.encode(example("llava_next_video", videos=(clip(rng, 3, 40, 30), clip(rng, 3, 30, 50))))
    spans = found.spans
    frames = [spans[f"video.frame[{i}]"] for i in range(6)]
    assert "video.frame[6]" not in spans
    assert np.array_equal(np.concatenate(frames), spans["video"])
    assert np.array_equal(np.concatenate(frames[:3]), spans["video[0]"])
    assert [len(frame) for frame in frames] == [4] * 6  # 4 x 4 patches, pooled 2 x 2
    assert (found.input_ids[0, spans["video"]] == view.processor.video_token_id).all()


@pytest.mark.parametrize("family", BOTH)
def test_top_level_spans_partition_the_prompt(family):
    found = view_of(family).encode(example(family, images=2))
    top = [found.spans[name] for name in TOP_LEVEL if name in found.spans]
    assert np.array_equal(np.sort(np.concatenate(top)), np.arange(found.length))
    assert len(found.spans.perceptual) == sum(
        len(found.spans[name]) for name in ("video", "audio") if name in found.spans
    )


def test_a_frame_looks_where_its_pixels_are():
    """Frames are 80 x 40, of which the processor keeps the middle 40 x 40."""
    view = view_of("llava_next_video")
    found = view.encode(example("llava_next_video", videos=(clip(np.random.default_rng(0), 2, 80, 40),)))
    assert len(found.frames) == 2
    for frame in found.frames:
        assert np.allclose(frame.rects[0], [20, 0, 40, 20])
        assert np.allclose(frame.rects[-1], [40, 20, 60, 40])
        assert (frame.width, frame.height) == (80, 40)


def test_changing_a_frame_changes_the_states_of_its_own_tokens_alone():
    view = view_of("llava_next_video")
    rng = np.random.default_rng(0)
    first = clip(rng, 3, 28, 28)
    other = clip(rng, 3, 28, 28)
    other.frames[[0, 2]] = first.frames[[0, 2]]
    a, b = (view.encode(example("llava_next_video", videos=(shown,))) for shown in (first, other))
    with torch.no_grad():
        entering = [view.model(**e.inputs, output_hidden_states=True).hidden_states[0][0] for e in (a, b)]
    changed = (entering[0] != entering[1]).any(-1).nonzero().flatten().tolist()
    assert changed == a.spans["video.frame[1]"].tolist()


def test_a_longer_sound_has_more_tokens_and_one_that_is_too_long_is_refused():
    view = view_of("qwen2_audio")
    rng = np.random.default_rng(0)
    lengths = [
        len(view.encode(example("qwen2_audio", audios=(sound(rng, seconds),))).spans["audio"])
        for seconds in (0.4, 0.8, 1.0)
    ]
    assert lengths == [10, 20, 25]
    with pytest.raises(ExampleError, match=r"lasts 1\.5 s, of which the model hears 1 s"):
        view.encode(example("qwen2_audio", audios=(sound(rng, 1.5),)))


def test_a_model_that_only_hears_has_no_vision_tower():
    view = view_of("qwen2_audio")
    assert view.vision_tower is None
    assert [type(tower).__name__ for tower in view.towers] == ["Qwen2AudioEncoder"]
    with pytest.raises(ExampleError, match="takes text and audio"):
        view.encode(example("llava"))
    with pytest.raises(ChiasmError, match="span `image`"):
        view.encode(example("qwen2_audio")).spans["image"]


@pytest.mark.parametrize("family", BOTH)
def test_a_batch_of_different_lengths_says_what_each_says_alone(family):
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        found = [view.encode(example(family, seed=seed)) for seed in range(3)]
        assert len({e.length for e in found}) > 1, "nothing is padded"
        sense = "video" if family == "llava_next_video" else "audio"
        source = "video.frame[1]" if sense == "video" else "audio"
        texts = (f"{source}->question", f"{sense}->last", f"{sense}->{sense}")
        jobs = [job(e, *(cut(e, text, 1, 3) for text in texts)) for e in found]
        packed = outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, jobs)
        plain = outcomes(ReferenceExecutor(), view, jobs)
    assert max(difference(a, b) for a, b in zip(packed, plain, strict=True)) <= 1e-9
    for outcome in plain:
        effect = (outcome.full[1:] - outcome.full[0]).abs().flatten(1).amax(dim=1)
        assert (effect > 1e-3).all()


def test_frames_are_prepared_as_pictures_where_nothing_is_resized():
    """The video processor needs torchvision, whose resizing is not Pillow's: only without it are values equal."""
    from transformers import CLIPImageProcessorPil

    steps = view_of("llava_next_video").processor.video_processor
    shown = clip(np.random.default_rng(0), 2, 28, 28).frames
    own = steps([shown], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]
    size = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    other = CLIPImageProcessorPil(**size)(list(shown), return_tensors="pt")["pixel_values"]
    assert torch.allclose(own, other, atol=1e-6)


def test_onevision_shows_one_picture_in_tiles_and_several_in_one_view_each():
    view = view_of("llava_onevision")
    one, two = (view.encode(example("llava_onevision", images=n, size=(60, 60))) for n in (1, 2))
    assert len(one.spans["image.base"]) == 16
    assert len(one.spans["image.hd"]) == 25  # 8 x 8 patches of tiles, thinned to 5 x 5
    assert len(one.spans["image.newline"]) == 5
    assert [len(two.spans[f"image[{i}]"]) for i in range(2)] == [17, 17]
    assert two.spans["image.newline"].tolist() == [int(two.spans[f"image[{i}]"][-1]) for i in range(2)]
    assert np.allclose(two.layouts[0].rects[0], [0, 0, 15, 15])


def test_onevision_puts_a_newline_behind_the_last_frame_and_batches_equal_lengths_alone():
    view = view_of("llava_onevision", torch.float64)
    rng = np.random.default_rng(0)
    two, three = (
        view.encode(example("llava_onevision", images=0, videos=(clip(rng, frames, 40, 30),))) for frames in (2, 3)
    )
    assert [len(three.spans[f"video.frame[{i}]"]) for i in range(3)] == [4, 4, 5]
    assert np.isnan(three.frames[-1].rects[-1]).all()
    with pytest.raises(ChiasmError, match="videos of one length"):
        view.collate([two, three])
    with no_upcasts(torch.float64):
        jobs = [job(e, *(cut(e, text, 1, 3) for text in ("video->question", "video.frame[0]->last"))) for e in (two,)]
        packed = outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, jobs)
        plain = outcomes(ReferenceExecutor(), view, jobs)
    assert max(difference(a, b) for a, b in zip(packed, plain, strict=True)) <= 1e-9
