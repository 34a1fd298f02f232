"""Words of the model's own answer: what the tables hold, what stands beside a word, and what is said of words."""

import math
from dataclasses import replace
from itertools import product

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tests.studies.flow import flow_runs
from tests.support import factories
from tests.support.float64 import no_upcasts
from tests.support.planted import PlantedLlama

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.core.positions import Spans
from chiasm.data.answer_words import NOT_THERE, OBJECT, OTHER, THERE, WrittenWord
from chiasm.interventions import AttentionKnockout, Variant, centred
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.loading import wrap
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow import own_answers
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.followed_words import followed_words
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.tables import BLANK, IMAGE_SWAP, SIZE_MATCHED

LAYERS = flow_runs.LAYERS
CUTS = ("image->question+suffix+last+answer", "image->last+answer", "answer->answer")


def tables_of(run):
    return {name: run.table(name) for name in run.tables()}


@pytest.fixture
def saying(monkeypatch):
    """The model says what it is told to: texts by example, in place of its greedy answers."""

    def say(texts, **fields):
        def answers(view, prompts, longest):
            written = [texts[prompt.example_id] if isinstance(texts, dict) else texts for prompt in prompts]
            ids = [view.tokenizer(text, add_special_tokens=False)["input_ids"][:longest] for text in written]
            return [GeneratedAnswer(text, tuple(t), **fields) for text, t in zip(written, ids, strict=True)]

        monkeypatch.setattr(own_answers, "generate", answers)

    return say


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "paligemma", "mllama"])
def test_words_are_what_plain_masked_forwards_of_the_same_text_give(family, saying):
    """Teacher-forced, one plain forward with a mask for every cut and window, in float64."""
    view = flow_runs.view_of(family)
    chosen = [factories.example(family, seed=seed) for seed in range(2)]
    said = "the red circle, größer blue-green."
    saying(said)
    with no_upcasts(torch.float64):
        run = flow_runs.run(view, chosen, target="words", cuts=CUTS[:2], controls=False)
    rows = run.table("answer_words")
    tokens = view.tokenizer(said, add_special_tokens=False)["input_ids"]
    for example in chosen:
        prompt = view.encode(example)
        longer = view.append_tokens(prompt, tokens)
        spans = Spans(longer.length, dict(prompt.spans) | {"answer": range(prompt.length, longer.length)})
        places = tuple(range(prompt.length - 1, longer.length - 1))
        with no_upcasts(torch.float64), torch.no_grad():
            logits = view.model(**longer.inputs).logits[0]
        clean = torch.log_softmax(logits[list(places)], dim=-1)[range(len(tokens)), tokens]
        cases = list(product(CUTS[:2], centred(LAYERS, 3)))
        variants = tuple(Variant(cut, (AttentionKnockout.parse(cut).on(spans, window),)) for cut, window in cases)
        encoded = replace(longer, spans=spans)
        with no_upcasts(torch.float64):
            (plain,) = ReferenceExecutor().run(view, [Job(encoded, variants, Readout(places, tuple(tokens)))])
        words = rows.filter(example_id=example.id, cut=CUTS[0], layer=0).sort("word")
        assert words["text"].to_list() == ["the", "red", "circle", "größer", "blue-green"]
        assert words["tokens"].max() > 1
        at = 0
        own = [range(at := at + skip, at := at + count) for skip, count in spread(words["tokens"], view, said)]
        for (cut, window), shown in zip(cases, plain.logprobs, strict=True):
            here = rows.filter(example_id=example.id, cut=cut, layer=window.centre).sort("word")
            for row, positions in zip(here.iter_rows(named=True), own, strict=True):
                expected = clean[list(positions)].mean(), shown[list(positions)].mean()
                assert row["logprob_clean"] == pytest.approx(float(expected[0]), abs=1e-9)
                assert row["logprob_cut"] == pytest.approx(float(expected[1]), abs=1e-9)
    assert (rows["logprob_cut"] - rows["logprob_clean"]).abs().max() > 0.01


def spread(counts, view, said):
    """For each word how many tokens stand between it and the one before, and how many it has, by decoding words."""
    tokens = view.tokenizer(said, add_special_tokens=False)["input_ids"]
    pieces, place, found = [view.tokenizer.decode([token]) for token in tokens], 0, []
    for count in counts:
        skip = 0
        while not any(letter.isalnum() or letter == "\ufffd" for letter in pieces[place + skip]):
            skip += 1
        found.append((skip, count))
        place += skip + count
    return found


def test_the_models_own_answer_is_followed_token_by_token():
    """Without being told: greedy tokens, each the most probable one where it stands."""
    view, chosen, several = flow_runs.view_of("llava"), flow_runs.examples(4), []
    run = flow_runs.run(view, chosen, target="words", max_new_tokens=8, cuts=CUTS[1:2], controls=False)
    followed = {row["example_id"]: row["text"] for row in run.table("followed").iter_rows(named=True)}
    for example in chosen:
        (answer,) = generate(view, [view.encode(example)], 8)
        if example.id not in followed:
            continue
        effects = run.table("effects").filter(example_id=example.id, layer=0)
        assert effects["target_token_id"].to_list() == [answer.tokens[0]]
        if len(answer.tokens) > 1:
            several.append(example.id)
            tokens = run.table("tokens").filter(example_id=example.id, layer=0)
            assert tokens["token_id"].to_list() == list(answer.tokens)
        words = run.table("answer_words").filter(example_id=example.id, layer=0)
        assert words["tokens"].sum() <= len(answer.tokens)
        assert all(text in followed[example.id] for text in words["text"])
    assert len(followed) + len(run.failures()) == 4
    assert several


def test_every_control_of_the_answer_stands_beside_every_word(saying):
    view = flow_runs.view_of()
    saying("a red circle and a square")
    run = flow_runs.run(view, flow_runs.examples(3), baseline=flow_runs.view_of(seed=1), target="words", cuts=CUTS)
    own, controls = run.table("answer_words"), run.table("answer_words_controls")
    keys = ["example_id", "cut", "layer", "start", "stop"]
    of_answer = run.table("controls").select(*keys, "control", "sample").unique()
    of_words = controls.select(*keys, "control", "sample").unique()
    assert_frame_equal(of_answer, of_words, check_row_order=False)
    assert {SIZE_MATCHED, BLANK, RANDOM_WEIGHTS, IMAGE_SWAP} <= set(controls["control"])
    assert own.select(*keys, "word").is_unique().all()
    # The mean over the tokens of all words, which are all tokens but spaces, is not far from the answer's own.
    names = own.filter(layer=0, cut=CUTS[0], example_id="llava-0").sort("word")
    assert names["text"].to_list() == ["a", "red", "circle", "and", "a", "square"]
    assert names["class"].to_list() == ["function", "other", "object", "function", "function", "object"]


@pytest.mark.parametrize("target", ["words", "answer"])
def test_the_blank_control_sees_a_blank_image(saying, target):
    """It is scored for the same tokens behind the same prompt, with nothing to see."""
    view, (example,) = flow_runs.view_of(), flow_runs.examples(1)
    saying("red")
    run = flow_runs.run(view, [example], target=target, cuts=["image->last"], window=1)
    rows = run.table("controls").filter(control=BLANK)
    tokens = run.table("effects")["target_token_id"].unique().to_list()
    from chiasm.studies.inputs import blanked

    encoded = view.encode(blanked(example))
    if target == "words":
        longer = view.append_tokens(encoded, view.tokenizer("red", add_special_tokens=False)["input_ids"])
    else:
        longer = view.encode(blanked(example), answer="red")
    with torch.no_grad():
        logprobs = torch.log_softmax(view.model(**longer.inputs).logits[0], dim=-1)
    ids = longer.input_ids[0, encoded.length :].tolist()
    expected = logprobs[range(encoded.length - 1, longer.length - 1), ids].mean()
    assert tokens == ids[:1]
    assert rows["logprob_clean"].to_list() == pytest.approx([float(expected)] * LAYERS, abs=1e-6)


def test_a_word_of_several_tokens_is_the_geometric_mean_of_them(saying):
    view, chosen = flow_runs.view_of(), flow_runs.examples(2)
    saying(" Quadrat, größer")
    run = flow_runs.run(view, chosen, target="words", cuts=CUTS[:1], controls=False)
    tokens = run.table("tokens").filter(example_id=chosen[0].id, layer=1).sort("index")
    ids = tokens["token_id"].to_list()
    pieces = view.tokenizer.convert_ids_to_tokens(ids)
    comma = pieces.index(",")
    for word, own in (("Quadrat", tokens[1:comma]), ("größer", tokens[comma + 2 :])):
        row = run.table("answer_words").filter(example_id=chosen[0].id, layer=1, text=word).row(0, named=True)
        assert row["tokens"] == own.height > 1
        prob = math.prod(math.exp(x) for x in own["logprob_cut"]) ** (1 / own.height)
        assert math.exp(row["logprob_cut"]) == pytest.approx(prob, rel=1e-9)


def word(start, stop, kind=OTHER, group="other words", text="x"):
    return WrittenWord(start, stop, text, kind, group)


def test_words_that_share_a_token_are_one_and_marks_belong_to_their_word():
    text = "red.circle!"
    written = [word(0, 3, "colour", "colours", "red"), word(4, 10, OBJECT, THERE, "circle")]
    apart = followed_words(text, written, [(0, 3), (3, 4), (4, 8), (8, 11)])
    assert [(one.text, one.tokens) for one in apart] == [("red", (0,)), ("circle", (2, 3))]
    together = followed_words(text, written, [(0, 2), (2, 6), (6, 10), (10, 11)])
    assert [(one.text, one.kind, one.group, one.tokens) for one in together] == [
        ("red.circle", OTHER, "other words", (0, 1, 2))
    ]
    # Of one class they keep it.
    alike = [word(0, 3, OBJECT, THERE), word(4, 10, OBJECT, THERE)]
    assert followed_words(text, alike, [(0, 2), (2, 6), (6, 10)])[0].group == THERE


def test_the_last_word_of_an_answer_that_was_cut_off_is_left_out():
    written, offsets = [word(0, 3), word(4, 7)], [(0, 3), (3, 7)]
    assert len(followed_words("red squ", written, offsets, ended=False)) == 1
    assert len(followed_words("red squ", written, offsets)) == 2
    assert len(followed_words("red squ.", written, [*offsets, (7, 8)], ended=False)) == 2


def test_a_cut_off_answer_is_said(saying):
    saying("red circle and squa", ended=False)
    run = flow_runs.run(flow_runs.view_of(), flow_runs.examples(1), target="words", cuts=CUTS[:1], controls=False)
    assert run.table("answer_words")["text"].unique(maintain_order=True).to_list() == ["red", "circle", "and"]
    assert any("cut off after 32 tokens (--max-new-tokens)" in one["reason"] for one in run.skipped())


def alike(count, **fields):
    """Examples whose spans are at the same places."""
    return [
        factories.example(seed=k, size=(40, 40), question="What color is it, red or blue?", **fields)
        for k in range(count)
    ]


def test_a_word_that_depends_on_the_image_is_told_from_one_that_does_not(saying):
    """Planted: the image reaches the question in layer 1, the question the first word in layer 2; no later word reads
    either.
    """
    model, processor = factories.build("llava", dtype=torch.float64)
    text = model.model.language_model
    decoder = PlantedLlama(text.config).double().eval()
    decoder.load_state_dict(text.state_dict())
    model.model.language_model = decoder
    model.set_attn_implementation("sdpa")
    view = wrap(model, processor)
    saying("circle or")
    chosen = alike(10)
    first = view.tokenizer("circle", add_special_tokens=False)["input_ids"]
    spans = view.encode(chosen[0]).spans
    decoder.plant(Spans(spans.length + 99, dict(spans)), enter=1, leave=2)
    run = flow_runs.run(view, chosen, target="words", cuts=["image->question"], window=1, batch_size=10)
    rows = run.table("answer_words").with_columns(change=pl.col("logprob_cut") - pl.col("logprob_clean"))
    assert len(first) > 1
    assert rows.filter(pl.col("text") == "or")["change"].abs().max() <= 1e-9
    assert rows.filter(pl.col("text") == "circle", pl.col("layer") != 1)["change"].abs().max() <= 1e-9
    assert rows.filter(pl.col("text") == "circle", pl.col("layer") == 1)["change"].abs().min() > 1e-6
    found = of_kind(claims(tables_of(run)), "word")
    held = {(one.about, one.where): one.verdict for one in found}
    assert {verdict for (about, _), verdict in held.items() if "function words" in about} == {"practically none"}
    assert {where for (about, where), verdict in held.items() if verdict != "practically none"} <= {"1"}


@pytest.mark.heavy
def test_nothing_is_claimed_of_words_of_a_random_model(saying):
    """Beside models of its own kind, which differ in nothing but their draw."""
    saying({f"llava-{k}": "a circle or a star" if k % 2 else "the square is red" for k in range(20)})
    options = {"baseline": "random", "target": "words", "cuts": CUTS[1:], "window": 1, "batch_size": 10}
    run = flow_runs.run(flow_runs.view_of(), flow_runs.examples(20), objects="scenes", **options)
    found = [one for one in claims(tables_of(run)) if one.kind.startswith("word")]
    assert {"word", "word-count", "word-base", "word-scale", "word-contrast"} <= {one.kind for one in found}
    assert not [one for one in found if one.kind in ("word", "word-contrast") and one.verdict == "established"]


def test_correct_and_hallucinated_objects_are_told_apart(saying):
    """By the boxes of each input and what its captions name."""
    chosen = [replace(one, captions=("a star",) if k else ()) for k, one in enumerate(flow_runs.examples(2))]
    chosen.append(replace(flow_runs.examples(3)[2], boxes=(), captions=()))
    saying("circles, a star and a tree")
    run = flow_runs.run(flow_runs.view_of(), chosen, target="words", cuts=CUTS[:1], controls=False, objects="scenes")
    rows = run.table("answer_words").filter(layer=0)
    groups = {(e, t): g for e, t, g in rows.select("example_id", "text", "group").iter_rows()}
    assert groups["llava-0", "circles"] == groups["llava-1", "circles"] == groups["llava-1", "star"] == THERE
    assert groups["llava-0", "star"] == NOT_THERE
    assert groups["llava-2", "circles"] == "objects"
    assert groups["llava-0", "tree"] == "other words"
    counts = {one.about: (one.effect, one.n) for one in of_kind(claims(tables_of(run)), "word-count")}
    assert counts[THERE] == (3, 2)
    assert counts[NOT_THERE] == (1, 1)
    # Without a label an answer is right where it names nothing that is not there.
    said = {row["example_id"]: row["right"] for row in run.table("followed").iter_rows(named=True)}
    assert not said["llava-0"]


def test_objects_come_from_the_boxes_of_all_examples_or_from_a_file(saying, tmp_path):
    saying("a circle on a table")
    options = {"target": "words", "cuts": CUTS[:1], "controls": False}
    run = flow_runs.run(flow_runs.view_of(), flow_runs.examples(1), **options)
    assert "circle" in run.table("answer_words").filter(group=THERE)["text"].to_list()
    path = tmp_path / "objects.txt"
    path.write_text("furniture, table, chair\n")
    run = flow_runs.run(flow_runs.view_of(), flow_runs.examples(1), objects=str(path), **options)
    assert set(run.table("answer_words").filter(group=NOT_THERE)["text"]) == {"table"}
    with pytest.raises(ChiasmError, match="read the objects"):
        flow_runs.run(flow_runs.view_of(), flow_runs.examples(1), objects=str(tmp_path / "none.txt"), **options)


def test_a_resumed_run_and_the_reference_give_the_same(saying, tmp_path):
    saying("a red circle")
    view, options = flow_runs.view_of(), {"target": "words", "cuts": CUTS[1:], "batch_size": 1}
    whole = flow_runs.run(view, flow_runs.examples(3), **options)
    asked = []
    generate_own = own_answers.generate

    def stopped(*given):
        asked.append(given)
        if len(asked) == 4:  # the price asks first
            raise KeyboardInterrupt
        return generate_own(*given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(own_answers, "generate", stopped)
        with pytest.raises(KeyboardInterrupt):
            flow_runs.run(view, flow_runs.examples(3), tmp_path, **options)
    resumed = flow_runs.run(view, flow_runs.examples(3), tmp_path, resume=True, **options)
    reference = flow_runs.run(view, flow_runs.examples(3), executor="reference", **options)
    for name in ("answer_words", "answer_words_controls", "claims"):
        assert_frame_equal(whole.table(name), resumed.table(name))
    for name in ("answer_words", "answer_words_controls"):
        assert_frame_equal(whole.table(name), reference.table(name), abs_tol=1e-9)


def test_bad_answers_are_recorded_and_the_run_goes_on(saying):
    chosen = flow_runs.examples(3)
    saying({chosen[0].id: "", chosen[1].id: "...", chosen[2].id: "red"})
    run = flow_runs.run(flow_runs.view_of(), chosen, target="words", cuts=CUTS[:1], controls=False)
    reasons = {one["example_id"]: one["reason"] for one in run.failures()}
    assert reasons[chosen[0].id].startswith("the model answers nothing")
    assert reasons[chosen[1].id] == "its answer '...' has no word to follow"
    assert run.table("answer_words")["example_id"].unique().to_list() == [chosen[2].id]
    saying("", finite=False)
    with pytest.raises(ChiasmError, match="NaN or infinite"):
        flow_runs.run(flow_runs.view_of(), chosen, target="words", cuts=CUTS[:1], controls=False)


def test_only_right_answers_where_there_is_a_label(saying):
    chosen = flow_runs.examples(3)
    chosen[2] = replace(chosen[2], answer="", options=())
    saying({chosen[0].id: "red", chosen[1].id: "blue", chosen[2].id: "blue"})
    run = flow_runs.run(flow_runs.view_of(), chosen, target="words", cuts=CUTS[:1], controls=False, keep="correct")
    assert run.table("examples")["example_id"].to_list() == [chosen[0].id, chosen[2].id]
    assert run.table("followed")["right"].to_list() == [True, True]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"objects": "scenes"}, "--target first --objects: it is about words"),
        ({"max_new_tokens": 5, "target": "answer"}, "--target answer --max-new-tokens"),
        ({"target": "words", "keep_only": ["image->last"]}, "--target words --keep-only: it asks how many answers"),
        ({"target": "words", "sufficient": 20}, "--target words --sufficient"),
        ({"task": "caption"}, "a description has no labelled answer"),
        ({"task": "caption", "target": "answer", "keep": "all"}, "a description has no labelled answer"),
        ({"target": "words", "max_new_tokens": 0}, "max-new-tokens"),
        ({"target": "label"}, "label"),
    ],
)
def test_options_that_contradict_words_are_refused(options, found):
    with pytest.raises(ChiasmError, match=found):
        FlowSpec(model="tiny", **options)


def test_the_default_cuts_reach_every_token_of_the_answer():
    spec = FlowSpec(model="tiny", target="words")
    assert [one.text for one in spec.interventions()][:2] == [CUTS[0], "image->last+answer"]
    assert FlowSpec(model="tiny").interventions()[1].text == "image->last"
