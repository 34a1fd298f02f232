"""The training's parts: packing changes nothing, a killed stage continues, the optimiser does what it says."""

import random

import numpy as np
import pytest
import torch
from recipes.tiny.curriculum import WORDS, note_pack, recall_packs, text_packs
from recipes.tiny.encoders import blank_pixels, patches, pixels, tone_facts
from recipes.tiny.evaluate import WORLDS
from recipes.tiny.loop import orthogonal
from recipes.tiny.mapping import align_packs, answer_scores, instruct_packs
from recipes.tiny.modalities import AudioModality, ImageModality, VideoModality
from recipes.tiny.packing import Pack, Packer
from recipes.tiny.questions import question_block
from recipes.tiny.text import build_decoder, grow, recall

from chiasm.data.scenes import draw_melody, scenes, scenes_audio, scenes_video
from chiasm.data.scenes.melodies import synthesize
from chiasm.data.scenes.stream import SCENES, SCENES_AUDIO, SCENES_VIDEO
from chiasm.tiny import shapes
from chiasm.tiny.tokens import INSTRUCTION, tokenizer

MODALITIES = {
    "scenes": (ImageModality, shapes.llava, shapes.processor, SCENES.question, scenes),
    "scenes-video": (
        VideoModality,
        shapes.llava_next_video,
        shapes.video_processor,
        SCENES_VIDEO.question,
        scenes_video,
    ),
    "scenes-audio": (AudioModality, shapes.qwen2_audio, shapes.audio_processor, SCENES_AUDIO.question, scenes_audio),
}


class _Never(random.Random):
    """Blanks nothing."""

    def random(self):
        return 1.0


@pytest.mark.parametrize("world", MODALITIES)
def test_a_packed_question_is_answered_as_if_asked_alone(world):
    """The features and the packed mask give what the model's own forward gives on what its processor made."""
    kind, build, processing, content_of, stream = MODALITIES[world]
    words, place = tokenizer(), WORLDS[world]
    model, processor, packer = build(words), processing(words), Packer(words)
    modality, examples = kind(model), list(stream(limit=3))
    first = question_block("Is there a red heart?", "no")
    packs = [Pack(modality.prefix, [first, question_block(e.question, e.answer)], []) for e in examples]
    packed = packer.pack(packs)
    with torch.no_grad():
        features = modality.perceive([content_of(0, "heldout", number)[0] for number in range(3)], _Never())
        scores = answer_scores(modality, packed, features).unflatten(0, (3, -1))
        for number, example in enumerate(examples):
            content = [{"type": place.part}, {"type": "text", "text": f"{example.question}\n{INSTRUCTION}"}]
            prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            given = {place.argument: [place.media(example)]}
            alone = model(**processor(text=[prompt], **given, return_tensors="pt")).logits[0, -1]
            # The second answer follows the two tokens learned after the first question.
            assert torch.allclose(scores[number, 2], alone, atol=1e-4)


def test_the_drawn_pixels_are_the_processors():
    words = tokenizer()
    processor = shapes.image_processor()
    scene, _ = SCENES.question(0, "heldout", 0)
    own = processor(next(scenes(limit=1)).image, return_tensors="pt")["pixel_values"]
    assert torch.allclose(pixels([scene]), own, atol=1e-5)
    assert blank_pixels().shape == (3, 1, 1)
    assert len(words) == shapes.llava(words).config.text_config.vocab_size


def test_patches_are_the_pixels_in_reading_order():
    drawn = torch.arange(2 * 3 * 96 * 96, dtype=torch.float32).reshape(2, 3, 96, 96)
    cut = patches(drawn)
    assert cut.shape == (2, 36, 3 * 16 * 16)
    assert torch.equal(cut[1, 7].reshape(3, 16, 16), drawn[1, :, 16:32, 16:32])


def test_a_token_hears_the_tone_that_sounds_then():
    rng = random.Random(1)
    for _ in range(20):
        melody = draw_melody(rng)
        facts, samples = tone_facts(melody), synthesize(melody)
        orders = [number for number in facts[:, 3] if number >= 0]
        assert sorted(set(orders)) == list(range(len(melody.tones)))
        assert orders == sorted(orders)
        for token in range(25):
            if facts[token, 0] >= 0:
                assert np.abs(samples[token * 640 : (token + 1) * 640]).max() > 0.1
        assert set(facts[facts[:, 3] == len(melody.tones) - 1, 4]) == {1}


def test_a_killed_stage_continues_to_the_same_weights(tmp_path):
    recall(tmp_path / "whole", steps=4, batch=2)
    # Stopping and continuing: the schedule depends on the number of steps, so the plan is the same in both.
    run_in_two(tmp_path / "halves")
    whole, halves = (torch.load(tmp_path / name / "recall.pt", weights_only=True) for name in ("whole", "halves"))
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def run_in_two(path):
    recall(path, steps=4, batch=2, stop=2)
    recall(path, steps=4, batch=2)


def test_every_phase_of_the_curriculum_packs():
    words = tokenizer()
    packer, rng = Packer(words), random.Random(0)
    batches = [recall_packs(step, rng, 4) for step in (0, WORDS // 2, WORDS)]
    batches += [text_packs(part, rng, 8) for part in (0.1, 0.9)]
    modalities = [kind(build(words)) for kind, build, *_ in MODALITIES.values()]
    batches += [align_packs(modality, rng, 4) for modality in modalities]
    batches += [instruct_packs(modality, rng, 4, 0.5) for modality in modalities]
    for packs in batches:
        packed = packer.pack(packs)
        assert packed.learned.any()
        scores = torch.zeros(int(packed.learned.sum()), 4)
        assert set(packed.accuracy(scores, packs)) == {kind for pack in packs for kind in pack.kinds}
        # No token attends to nothing.
        assert packed.mask.any(-1).all()


def test_a_note_holds_all_that_its_questions_need():
    rng = random.Random(4)
    for _ in range(50):
        pack = note_pack(rng)
        for (asked, answered), kind in zip(pack.blocks, pack.kinds, strict=True):
            answer = answered.removesuffix("</s>").strip().lower()
            if kind != "note ChooseRel":
                assert f" {answer}" in pack.prefix
            named = [word.strip("?,.") for word in asked.split() if word.strip("?,.") in pack.prefix]
            assert named, "the objects asked about are named"


def test_muon_updates_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape_ in ((3, 16, 16), (2, 40, 16), (2, 16, 40)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape_)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_a_grown_decoder_computes_the_same():
    words = tokenizer()
    shallow, deep = build_decoder(words, layers=4, seed=1).eval(), build_decoder(words, seed=2).eval()
    grow(shallow, deep)
    ids = torch.randint(4, 1000, (2, 20))
    with torch.no_grad():
        assert torch.allclose(shallow(ids).logits, deep(ids).logits, atol=1e-5)
