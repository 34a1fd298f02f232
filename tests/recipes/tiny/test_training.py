"""The training's parts: packing changes nothing, a killed stage continues, the optimiser does what it says."""

import random

import numpy as np
import pytest
import torch
from recipes.tiny.course import WORDS, note_row, recall_rows, text_rows
from recipes.tiny.encoders import patches, tone_facts
from recipes.tiny.evaluate import WORLDS
from recipes.tiny.lessons import question_block
from recipes.tiny.muon import orthogonal
from recipes.tiny.packs import Packer
from recipes.tiny.senses import Film, Hearing, Sight, blank_pixels
from recipes.tiny.sight import align_rows, answer_scores, instruct_rows
from recipes.tiny.stages import heard, recall
from recipes.tiny.tower import pixels

from chiasm.data.scenes import draw_melody, scenes, scenes_audio, scenes_video
from chiasm.data.scenes.stream import melody_of, moving_of, question_of
from chiasm.data.scenes.tones import synthesize
from chiasm.tiny import shape
from chiasm.tiny.tokens import INSTRUCTION, tokenizer

SENSES = {
    "scenes": (Sight, shape.llava, shape.processor, question_of, scenes),
    "scenes-video": (Film, shape.llava_next_video, shape.video_processor, moving_of, scenes_video),
    "scenes-audio": (Hearing, shape.qwen2_audio, shape.audio_processor, melody_of, scenes_audio),
}


class _Never(random.Random):
    """Blanks nothing."""

    def random(self):
        return 1.0


@pytest.mark.parametrize("world", SENSES)
def test_a_packed_question_is_answered_as_if_asked_alone(world):
    """The features and the packed mask give what the model's own forward gives on what its processor made."""
    kind, build, processing, content_of, stream = SENSES[world]
    words, place = tokenizer(), WORLDS[world]
    model, processor, packer = build(words), processing(words), Packer(words)
    sense, examples = kind(model), list(stream(limit=3))
    first = question_block("Is there a red heart?", "no")
    packed = packer.pack([(sense.prefix, [first, question_block(e.question, e.answer)]) for e in examples])
    with torch.no_grad():
        features = sense.perceive([content_of(0, "heldout", number)[0] for number in range(3)], _Never())
        scores = answer_scores(sense, packed, features).unflatten(0, (3, -1))
        for number, example in enumerate(examples):
            content = [{"type": place.part}, {"type": "text", "text": f"{example.question}\n{INSTRUCTION}"}]
            prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            given = {place.argument: [place.media(example)]}
            alone = model(**processor(text=[prompt], **given, return_tensors="pt")).logits[0, -1]
            # The second answer follows the two tokens said after the first question.
            assert torch.allclose(scores[number, 2], alone, atol=1e-4)


def test_the_drawn_pixels_are_the_processors():
    words = tokenizer()
    processor = shape.image_processor()
    scene, _ = question_of(0, "heldout", 0)
    own = processor(next(scenes(limit=1)).image, return_tensors="pt")["pixel_values"]
    assert torch.allclose(pixels([scene]), own, atol=1e-5)
    assert blank_pixels().shape == (3, 1, 1)
    assert len(words) == shape.llava(words).config.text_config.vocab_size


def test_patches_are_the_pixels_in_reading_order():
    drawn = torch.arange(2 * 3 * 96 * 96, dtype=torch.float32).reshape(2, 3, 96, 96)
    cut = patches(drawn)
    assert cut.shape == (2, 36, 3 * 16 * 16)
    assert torch.equal(cut[1, 7].reshape(3, 16, 16), drawn[1, :, 16:32, 16:32])


def test_a_token_hears_the_tone_that_sounds_then():
    rng = random.Random(1)
    for _ in range(20):
        melody = draw_melody(rng)
        told, samples = tone_facts(melody), synthesize(melody)
        orders = [number for number in told[:, 3] if number >= 0]
        assert sorted(set(orders)) == list(range(len(melody.tones)))
        assert orders == sorted(orders)
        for token in range(25):
            if told[token, 0] >= 0:
                assert np.abs(samples[token * 640 : (token + 1) * 640]).max() > 0.1
        assert set(told[told[:, 3] == len(melody.tones) - 1, 4]) == {1}


def test_a_killed_stage_continues_to_the_same_weights(tmp_path):
    recall(tmp_path / "whole", steps=4, batch=2)
    # Stopping and continuing: the schedule depends on the number of steps, so the plan is the same in both.
    run_in_two(tmp_path / "halves")
    whole, halves = (torch.load(tmp_path / name / "recall.pt", weights_only=True) for name in ("whole", "halves"))
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def run_in_two(path):
    recall(path, steps=4, batch=2, stop=2)
    recall(path, steps=4, batch=2)


def test_every_phase_of_the_course_packs():
    words = tokenizer()
    packer, rng = Packer(words), random.Random(0)
    batches = [recall_rows(step, rng, 4) for step in (0, WORDS // 2, WORDS)]
    batches += [text_rows(part, rng, 8) for part in (0.1, 0.9)]
    senses = [kind(build(words)) for kind, build, *_ in SENSES.values()]
    batches += [align_rows(sense, rng, 4) for sense in senses] + [instruct_rows(sense, rng, 4, 0.5) for sense in senses]
    for rows in batches:
        packed = packer.pack([(row.prefix, row.blocks) for row in rows])
        assert packed.said.any()
        scores = torch.zeros(int(packed.said.sum()), 4)
        assert set(heard(scores, packed, rows)) == {kind for row in rows for kind in row.kinds}
        # No row attends to nothing.
        assert packed.mask.any(-1).all()


def test_a_note_tells_all_that_its_questions_need():
    rng = random.Random(4)
    for _ in range(50):
        row = note_row(rng)
        for (asked, said), kind in zip(row.blocks, row.kinds, strict=True):
            answer = said.removesuffix("</s>").strip().lower()
            if kind != "note ChooseRel":
                assert f" {answer}" in row.prefix
            named = [word.strip("?,.") for word in asked.split() if word.strip("?,.") in row.prefix]
            assert named, "the objects asked about are told of"


def test_muon_updates_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape_ in ((3, 16, 16), (2, 40, 16), (2, 16, 40)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape_)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_a_grown_decoder_computes_the_same():
    words = tokenizer()
    shallow, deep = shape.decoder(words, layers=4, seed=1).eval(), shape.decoder(words, seed=2).eval()
    shape.grow(shallow, deep)
    ids = torch.randint(4, 1000, (2, 20))
    with torch.no_grad():
        assert torch.allclose(shallow(ids).logits, deep(ids).logits, atol=1e-5)
