"""The Qwen family: frames in pairs, their times, states added behind the first layers, and all senses at once."""

import re
from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.support.factories import build, example
from tests.support.factories_qwen import SPARSE_MAKERS
from tests.support.factories_senses import clip, sound
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, job, outcomes, view_of
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from chiasm.core.errors import ChiasmError, ExampleError, GuardError
from chiasm.core.media import Clip
from chiasm.core.spans import TOP_LEVEL
from chiasm.models.conformance.painting import patches_alone
from chiasm.models.encoding.prompts import warn_once
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.walk import Walk
from chiasm.models.families import family_of
from chiasm.models.frame import record_frame
from chiasm.models.loading import load, wrap
from chiasm.models.view import ModelView

WATCHING = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "qwen2_5_omni")
UNGUARDED = LockstepExecutor(guard=Guard(enabled=False))
# Whole tokens of 28 x 28, within the limits of the processors: the thinker's own takes no frame below 128 tokens.
SIDE, WIDE = 112, 336


def side_of(view):
    return WIDE if view.family.name == "qwen2_5_omni" else SIDE


def encode_video(view, frames=4, fps=2.0):
    side = side_of(view)
    shown = clip(np.random.default_rng(0), frames, side, side)
    return view.encode(example(images=0, videos=(Clip(shown.frames, fps),))), shown


def entering(view, found):
    with torch.no_grad(), view.readable_attention():
        return record_frame(view, found.inputs).hidden[0]


@pytest.mark.parametrize("family", WATCHING)
@pytest.mark.parametrize(("frames", "pairs"), [(4, 2), (5, 3)])
def test_a_frame_is_a_pair_and_the_last_of_an_odd_number_stands_alone(family, frames, pairs):
    view = view_of(family)
    found, _ = encode_video(view, frames)
    spans = [found.spans[f"video.frame[{k}]"] for k in range(pairs)]
    assert len(found.frames) == pairs
    assert len({len(span) for span in spans}) == 1
    assert np.array_equal(np.concatenate(spans), found.spans["video"])
    assert (found.input_ids[0, found.spans["video"]] == view.config.video_token_id).all()
    top = [found.spans[name] for name in TOP_LEVEL if name in found.spans]
    assert np.array_equal(np.sort(np.concatenate(top)), np.arange(found.length))


@pytest.mark.parametrize("family", WATCHING)
@pytest.mark.parametrize("changed", [2, 3])
def test_either_frame_of_a_pair_changes_the_tokens_of_that_pair_alone(family, changed):
    view = view_of(family)
    before, shown = encode_video(view)
    other = shown.frames.copy()
    other[changed] = 255 - other[changed]
    after = view.encode(example(images=0, videos=(Clip(other, 2.0),)))
    moved = (entering(view, before) != entering(view, after)).any(-1).nonzero().flatten().tolist()
    assert moved == before.spans["video.frame[1]"].tolist()


@pytest.mark.parametrize("family", WATCHING)
def test_a_box_painted_into_a_frame_is_found_at_its_tokens(family):
    """Frames of whole tokens are not resized, and each patch is made to see itself alone: nothing else may move."""
    view = view_of(family)
    before, shown = encode_video(view)
    other, side = shown.frames.copy(), side_of(view)
    other[:2, side // 2 :, : side // 4] = 255 - other[:2, side // 2 :, : side // 4]
    after = view.encode(example(images=0, videos=(Clip(other, 2.0),)))
    with patches_alone(view.towers):
        moved = (entering(view, before) != entering(view, after)).any(-1).numpy()
    layout = before.frames[0]
    x0, _, _, y1 = layout.rects.T
    under = (x0 < side // 4) & (y1 > side // 2)
    assert 0 < under.sum() < len(under)
    assert np.array_equal(moved[layout.positions], under)


def test_times_of_frames_reach_the_model_as_they_are():
    third = torch.tensor([2 / 1.7])
    for family, key in (("qwen2_5_vl", "second_per_grid_ts"), ("qwen2_5_omni", "video_second_per_grid")):
        view = ModelView(*build(family, dtype=torch.bfloat16)).as_served()
        found, _ = encode_video(view, fps=1.7)
        assert torch.equal(found.inputs[key].float(), third), family
        assert found.inputs["pixel_values_videos"].dtype == torch.bfloat16


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_5_omni"])
def test_slower_frames_stand_further_apart_in_time(family):
    view = view_of(family)
    placed = []
    for fps in (0.5, 2.0):
        found, _ = encode_video(view, fps=fps)
        first, second = (int(found.spans[f"video.frame[{k}]"][0]) for k in range(2))
        cos = record_frame(view, found.inputs).arguments[0]["position_embeddings"][0][0]
        placed.append(float((cos[first] - cos[second]).abs().max()))
    assert placed[0] != placed[1]


def test_clips_of_one_prompt_keep_their_own_rates():
    view = view_of("qwen2_5_omni")
    rng = np.random.default_rng(0)
    clips = tuple(Clip(clip(rng, 4, SIDE, SIDE).frames, fps) for fps in (1.0, 4.0))
    found = view.encode(example(images=0, videos=clips))
    assert found.inputs["video_second_per_grid"].tolist() == [2.0, 0.5]


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_times_are_written_between_frames_and_are_no_part_of_them(family):
    view = view_of(family)
    found, _ = encode_video(view, fps=4.0)
    before, behind = (view.tokenizer.decode(found.input_ids[0, found.spans[name]]) for name in ("prefix", "between"))
    assert before.endswith("<0.1 seconds><|vision_start|>")
    assert behind.startswith("<|vision_end|><0.6 seconds><|vision_start|>")


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_written_times_are_those_of_the_whole_video(family):
    """Sixty frames at 5 to the second, thinned to eight: pairs stand between the middles of their parts."""
    view = view_of(family)
    sixty = Clip(np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3), dtype=np.uint8), 5.0)
    found = view.encode(example(images=0, videos=(sixty,)))
    written = re.findall(r"<([\d.]+) seconds>", view.tokenizer.decode(found.input_ids[0]))
    kept = ((np.arange(8) + 0.5) * 7.5).astype(int) / 5
    assert written == [f"{pair.mean():.1f}" for pair in kept.reshape(4, 2)]
    told = view.family.frame_times(kept, 8 / 12, view.config)
    assert list(told) == written


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_5_omni"])
@pytest.mark.parametrize("fps", [2.0, 20.0, 80.0])
def test_frame_times_are_the_positions_in_time(family, fps):
    view = view_of(family)
    found, shown = encode_video(view, fps=fps, frames=8)
    rope = record_frame(view, found.inputs).arguments[0]["position_embeddings"][0][0]
    firsts = [rope[int(found.spans[f"video.frame[{k}]"][0])] for k in range(4)]
    told = view.family.frame_times(Clip(shown.frames, fps).shown_at, fps, view.config)
    for one, two in combinations(range(4), 2):
        assert torch.equal(firsts[one], firsts[two]) == (told[one] == told[two])


def test_frames_that_share_a_time_are_said(caplog):
    view = view_of("qwen2_5_vl")
    warn_once.cache_clear()
    quick = 4 * view.config.vision_config.tokens_per_second
    for fps, said in ((0.5, 0), (quick, 1), (quick, 1)):
        encode_video(view, fps=float(fps), frames=8)
        assert len([r for r in caplog.records if "have the time of another" in r.message]) == said
    assert "4 frames (as it merges them) 2 have the time of another" in caplog.text


def test_one_frame_is_refused_where_the_processor_wants_two():
    with pytest.raises(ExampleError, match="does not take it"):
        encode_video(view_of("qwen3_vl"), frames=1)


def without_added(self, index, hidden):
    """The planted fault: what the model adds between two layers reaches the clean rows alone."""
    self._clean_out = None
    original(self, index, hidden)


original = Walk._take_clean_input


def test_the_guard_fires_where_states_added_behind_a_layer_are_dropped():
    view = view_of("qwen3_vl")
    found = view.encode(example())
    work = [job(found, cut(found, "image->image", 0, 1), cut(found, "image->question", 0, 1))]
    LockstepExecutor().run(view, work)
    with patch.object(Walk, "_take_clean_input", without_added), pytest.raises(GuardError):
        LockstepExecutor().run(ModelView(view.model, view.processor), work)


@pytest.mark.parametrize("model_type", SPARSE_MAKERS)
def test_experts_are_walked_exactly(model_type):
    with patch.dict("tests.support.factories.FURTHER", SPARSE_MAKERS):
        view = ModelView(*build(model_type, dtype=torch.float64))
    assert view.family.name == model_type.removesuffix("_moe")
    found = [view.encode(example(seed=seed)) for seed in range(2)]
    jobs = [
        job(e, *(cut(e, text, *w) for text in ("image->image", "image->last") for w in ((0, 2), (1, 3)))) for e in found
    ]
    with no_upcasts(torch.float64):
        packed, plain = outcomes(UNGUARDED, view, jobs), outcomes(ReferenceExecutor(), view, jobs)
    assert max(difference(a, b) for a, b in zip(packed, plain, strict=True)) <= 1e-9
    assert min(float((o.full[1:] - o.full[0]).abs().flatten(1).amax(1).min()) for o in plain) > 1e-3


def sensed(view, seed=0):
    rng = np.random.default_rng(seed)
    shown, heard = clip(rng, 3 + seed, SIDE, SIDE), sound(rng, 0.4 + 0.3 * seed)
    return view.encode(example(seed=seed, videos=(shown,), audios=(heard,)))


def test_pictures_videos_and_sounds_of_one_prompt_are_cut_apart():
    view = view_of("qwen2_5_omni", torch.float64)
    with no_upcasts(torch.float64):
        found = [sensed(view, seed) for seed in range(2)]
        assert found[0].length != found[1].length, "nothing is padded"
        texts = ("image->question", "video->question", "audio->question", "audio->video", "image+audio->last")
        jobs = [job(e, *(cut(e, text, 0, 4) for text in texts)) for e in found]
        packed, plain = outcomes(UNGUARDED, view, jobs), outcomes(ReferenceExecutor(), view, jobs)
    assert max(difference(a, b) for a, b in zip(packed, plain, strict=True)) <= 1e-9
    for outcome in plain:
        effect = (outcome.full[1:] - outcome.full[0]).abs().flatten(1).amax(1)
        # A sound comes after a video, so it can read it and not the other way round.
        assert (effect[[0, 1, 2, 4]] > 1e-3).all()
        assert effect[3] <= 1e-9
        assert len({round(float(value), 9) for value in effect}) == len(texts)


def test_a_video_with_its_own_sound_is_refused():
    view = ModelView(*build("qwen2_5_omni"))
    view.processor.load_audio_from_video = True
    with pytest.raises(ChiasmError, match="give the sound as `audio`"):
        encode_video(view)


def test_of_a_model_that_also_speaks_the_part_that_answers_is_loaded(tmp_path):
    thinker, processor = build("qwen2_5_omni")
    whole = Qwen2_5OmniForConditionalGeneration(
        Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    )
    whole.thinker.load_state_dict(thinker.state_dict())
    whole.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    view = load(tmp_path, device="cpu")
    assert type(view.model) is type(thinker)
    weights = thinker.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in view.model.state_dict().items())
    with pytest.raises(ChiasmError, match=r"`\.thinker`"):
        wrap(whole, processor)
    assert wrap(whole.thinker, processor).family is family_of(thinker.config)


def test_pictures_look_where_they_did_beside_a_video():
    view = view_of("qwen3_vl")
    alone = view.encode(example(size=(84, 56)))
    both = view.encode(example(size=(84, 56), videos=(clip(np.random.default_rng(0), 4, SIDE, SIDE),)))
    assert np.array_equal(alone.layouts[0].rects, both.layouts[0].rects)
    assert len(both.spans["image"]) == len(alone.spans["image"])
    assert len(both.spans["video"]) == sum(len(frame.positions) for frame in both.frames)
