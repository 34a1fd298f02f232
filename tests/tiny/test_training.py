"""The training's parts: packing changes nothing, a killed stage continues, the optimiser does what it says."""

import random

import torch

from chiasm.data.scenes import scenes
from chiasm.data.scenes.stream import question_of
from chiasm.tiny import shape
from chiasm.tiny.course import recall_rows, text_rows
from chiasm.tiny.lessons import question_block
from chiasm.tiny.muon import orthogonal
from chiasm.tiny.packs import Packer
from chiasm.tiny.sight import PICTURE, align_rows, answer_scores, blank_pixels, instruct_rows
from chiasm.tiny.stages import heard, recall
from chiasm.tiny.tokens import INSTRUCTION, tokenizer
from chiasm.tiny.tower import pixels


def test_a_packed_question_is_answered_as_if_asked_alone():
    words = tokenizer()
    model, processor, packer = shape.llava(words), shape.processor(words), Packer(words)
    examples = list(scenes(limit=3))
    first = question_block("Is there a red heart?", "no")
    packed = packer.pack([(PICTURE, [first, question_block(e.question, e.answer)]) for e in examples])
    drawn = pixels([question_of(0, "heldout", number)[0] for number in range(3)])
    with torch.no_grad():
        scores = answer_scores(model, packed, drawn).unflatten(0, (3, -1))
        for number, example in enumerate(examples):
            content = [{"type": "image"}, {"type": "text", "text": f"{example.question}\n{INSTRUCTION}"}]
            prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            alone = model(**processor(text=prompt, images=example.image, return_tensors="pt")).logits[0, -1]
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
    packer = Packer(tokenizer())
    rng = random.Random(0)
    batches = [recall_rows(step, rng, 4) for step in (0, 300, 500)] + [text_rows(share, rng, 4) for share in (0.1, 0.9)]
    for rows in [*batches, align_rows(rng, 4), instruct_rows(rng, 4)]:
        packed = packer.pack([(row.prefix, row.blocks) for row in rows])
        assert packed.said.any()
        scores = torch.zeros(int(packed.said.sum()), 4)
        assert set(heard(scores, packed, rows)) == {kind for row in rows for kind in row.kinds}
        # No row attends to nothing.
        assert packed.mask.any(-1).all()


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
