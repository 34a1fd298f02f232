"""Words at an object's tokens: planted ones are read where they are, everywhere else and at random they are not."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support.charts import found as found_in
from tests.support.charts import pictured, rows, titles

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example
from chiasm.models.geometry import touched
from chiasm.models.inside.lenses import InputLens, OutputLens
from chiasm.results.claims import read_claims
from chiasm.studies.look.findings import look_findings
from chiasm.studies.look.naming import TEXTS, WordReader, texts_of, words_of
from chiasm.studies.look.run import compute
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.run import Run

CAPTIONS = ("a red circle and a blue square", "there is a circle.")


@pytest.mark.parametrize(
    ("name", "captions", "described"),
    [
        ("ring", ("a small red ring at the top left.", "the ring is red."), {"small", "red"}),
        ("ring", ("large blue ring top left, small red star.",), {"large", "blue"}),
        ("ring", ("top left: small red ring.",), {"small", "red"}),
        ("ring", ("a star and ring",), set()),
        ("dog", ("Two very big old brown dogs", "a brown dog"), {"brown"}),
        ("traffic light", ("a green traffic light",), {"green"}),
        ("ring", (), set()),
    ],
)
def test_descriptions_are_what_stands_before_a_name(name, captions, described):
    found = words_of(Box(name, 0, 0, 1, 1), captions)
    assert found["described"] == described
    assert found["name"] == set(name.split())


def test_words_are_read_in_the_first_caption_or_else_in_question_and_answer():
    examples = [Example(id=f"e{k}", question=f"what {k}?", answer="red") for k in range(TEXTS + 9)]
    assert len(texts_of(examples, 0)) == TEXTS
    assert set(texts_of(examples, 0)) <= {f"what {k}? red" for k in range(TEXTS + 9)}
    assert texts_of([replace(examples[0], captions=CAPTIONS)], 0) == [CAPTIONS[0]]
    assert texts_of(examples[::-1], 0) == texts_of(examples, 0)


def still(view):
    """Layers that add nothing: every hidden state is what entered."""
    with torch.no_grad():
        for layer in view.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return view


def planted(view, example, word, source, other):
    """A hook on the projector: tokens at the first box get the row of `word`, all others that of `other`."""
    layout = view.encode(example).layouts[0]
    at = torch.from_numpy(touched(layout.rects, example.boxes[:1], layout.width, layout.height))
    pieces = torch.where(at[:, None], source[word][None], source[other][None])
    return view.projector.register_forward_hook(lambda module, args, out: pieces.to(out).reshape(out.shape))


@pytest.fixture(scope="module")
def view():
    return still(flow_runs.view_of())


@pytest.fixture(scope="module")
def example():
    return replace(flow_runs.examples(1, size=(64, 64))[0], captions=CAPTIONS)


def shares(rows_, lens, word="name", k=1):
    return {
        (row["place"], row["layer"]): row["share"]
        for row in rows_
        if (row["lens"], row["word"], row["k"]) == (lens, word, k)
    }


@pytest.mark.parametrize("lens", ["output", "input", "context"])
def test_a_planted_word_is_read_at_its_object_by_the_lens_that_it_was_planted_for(view, example, lens):
    """The output lens reads a row of the head, the input lens one of the embeddings, and with layers that add nothing
    words in texts are the rows of the embeddings too."""
    known = (OutputLens if lens == "output" else InputLens)(view)
    [circle], [blue] = known.numbers("circle"), known.numbers("blue")
    rows_ = view.head.weight / view.final_norm.weight if lens == "output" else view.embeddings.weight
    depths = range(view.n_layers + 1)
    circle_alone = replace(example, boxes=example.boxes[:1])
    handle = planted(view, circle_alone, circle, 3 * rows_.detach(), blue)
    try:
        alone = WordReader(view, [CAPTIONS[0]], 0).named(circle_alone, view.encode(circle_alone))
    finally:
        handle.remove()
    by_name = shares(alone, lens)
    assert {by_name["object", k] for k in depths} == {1.0}
    assert {by_name["elsewhere", k] for k in depths} == {0.0}
    # The rest of the image says "blue", which no caption calls the circle.
    assert {shares(alone, lens, "described")["object", k] for k in depths} == {0.0}
    handle = planted(view, example, circle, 3 * rows_.detach(), blue)
    try:
        both = WordReader(view, [CAPTIONS[0]], 0).named(example, view.encode(example))
    finally:
        handle.remove()
    # At the square neither word is, and at the circle the square's is not.
    layout = view.encode(example).layouts[0]
    sizes = [touched(layout.rects, (box,), layout.width, layout.height).sum() for box in example.boxes]
    assert {shares(both, lens)["object", k] for k in depths} == {sizes[0] / sum(sizes)}
    assert {shares(both, lens)["other object", k] for k in depths} == {0.0}


def test_random_directions_read_a_word_as_often_as_it_is_one_of_many(view, example):
    wide = replace(example, boxes=(Box("circle", 0, 0, 64, 64),))
    found = [WordReader(view, [CAPTIONS[0]], seed).named(wide, view.encode(wide)) for seed in range(12)]
    by_chance = [row for rows_ in found for row in rows_ if row["place"] == "random direction" and row["k"] == 5]
    shares_ = {
        lens: np.mean([row["share"] for row in by_chance if row["lens"] == lens and row["word"] == "name"])
        for lens in ("output", "input", "context")
    }
    assert shares_["context"] == 1.0  # the texts have five words
    assert 0.0 <= shares_["input"] < 0.08  # about 5 in 400
    assert 0.0 <= shares_["output"] < 0.08
    assert all(row["place"] != "elsewhere" for rows_ in found for row in rows_)  # nothing lies elsewhere


def test_what_cannot_be_asked_has_no_rows(view, example):
    reader = WordReader(view, [CAPTIONS[0]], 0)
    blind = replace(example, images=(), boxes=())
    assert reader.named(blind, view.encode(blind)) == []
    assert reader.named(replace(example, boxes=()), view.encode(example)) == []
    unknown = replace(example, boxes=(Box("zzz", 5, 5, 20, 20),), captions=())
    found = reader.named(unknown, view.encode(unknown))
    assert found == []  # no lens has such a word
    assert WordReader(view, [], 0).named(example, view.encode(example))  # without texts the two others


@pytest.fixture(scope="module")
def found():
    chosen = [replace(e, captions=CAPTIONS) for e in flow_runs.examples(9)]
    options = {"model": flow_runs.view_of(), "data": chosen, "batch_size": 4, "maps": 1}
    return compute(LookSpec(**options, baseline=flow_runs.view_of(seed=1)))


def test_every_example_with_boxes_is_judged_beside_random_weights(found):
    named = found.table("named")
    assert named["example_id"].n_unique() == 9
    assert set(named["place"]) == {"object", "other object", "elsewhere", "random direction"}
    assert set(named["lens"]) == {"output", "input", "context"}
    assert named["share"].is_between(0, 1).all()
    assert set(found.table("named_controls")["control"]) == {"twin"}
    nearest, five = (named.filter(k=k)["share"].to_numpy() for k in (1, 5))
    assert (five >= nearest).all()


def test_a_random_model_claims_nothing(found):
    claims = [one for one in read_claims(found.table("claims")) if one.kind.startswith("named")]
    assert {one.kind for one in claims} == {"named", "named-beyond", "named-other", "named-random"}
    assert not [one for one in claims if one.established]


def test_the_chart_draws_the_table_and_its_controls(found):
    drawn = rows(Run(found).chart("named"))
    panel = "output head: name"
    own = drawn.filter(panel=panel, role="measured", x=0)["y"].item()
    mean = found.table("named").filter(lens="output", word="name", place="object", k=5, layer=0)["share"].mean()
    assert own == pytest.approx(100 * mean, rel=1e-3, abs=1e-9)
    assert {"rest of the image", "other objects", "random directions", "random-weights baseline"} < set(drawn["role"])
    assert "name it?" in titles(Run(found).chart("named"))[0]


def test_a_reader_chooses_how_words_are_found(found):
    chart = Run(found).chart("words-0")
    bound = {one["name"]: one["bind"] for params in found_in(chart, "params") for one in params if "bind" in one}
    assert bound["lens"]["options"] == ["output head", "input embeddings", "words in texts"]
    paper = Run(found).chart("words-0", width="7in", states=[0, 2], lens="input")
    assert [title for title, _ in pictured(paper)] == [
        "image",
        "input embeddings, state 0",
        "input embeddings, state 2",
    ]
    with pytest.raises(ChiasmError, match="there are output, input, context"):
        Run(found).chart("words-0", lens="tuned")


def test_named_zero_leaves_it_out():
    seen = compute(LookSpec(model=flow_runs.view_of(), data=flow_runs.examples(2), named=0, maps=0, controls=False))
    assert not {"named", "lens"} & set(seen.tables())


def table(own, rest, n=30, seed=0, random=0.05):
    """A table `named` in which the object's tokens have its word in a share `own` of cases, all others in `rest`."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {
                "example_id": f"e{k:03}",
                "type": "a",
                "layer": layer,
                "lens": lens,
                "word": "name",
                "place": place,
                "k": 5,
            }
            | {"share": float(np.clip(of + 0.1 * rng.normal(), 0, 1)), "tokens": 9}
            for k in range(n)
            for layer in range(3)
            for lens in ("output", "input")
            for place, of in (
                ("object", own if (lens, layer) == ("output", 2) else rest),
                ("elsewhere", rest),
                ("other object", rest),
                ("random direction", random),
            )
        ]
    )


SHARES = pl.DataFrame(
    [
        {"example_id": f"e{k:03}", "type": "a", "layer": 0, "query": "last", "span": "image", "share": 0.5}
        | {"visible": 0.5}
        for k in range(30)
    ]
)


def claimed(named, control=None):
    beside = {} if control is None else {"named_controls": control.with_columns(control=pl.lit("twin"))}
    return read_claims(chiasm.claims("look", {"shares": SHARES, "named": named, **beside}))


def of(claims, kind):
    return [one for one in claims if one.kind == kind]


def test_a_planted_word_is_claimed_where_it_is_and_nowhere_else():
    found = claimed(table(0.7, 0.3))
    own = of(found, "named")
    assert [(one.about, one.where) for one in own if one.established] == [("output, name", "2")]
    [one] = [one for one in own if one.established]
    assert one.effect == pytest.approx(40, abs=5)
    assert one.control == "the rest of the image"
    assert one.control_effect == pytest.approx(30, abs=3)
    [text] = [f.text for f in look_findings(found) if f.text.startswith("By the output head, an object's")]
    assert "more often than the rest of the image at hidden state 2; the largest" in text
    assert "Random directions have" in text
    assert "Tokens of other objects have" in text
    [text] = [f.text for f in look_findings(found) if "the input embeddings" in f.text]
    assert text.startswith("That by the input embeddings")
    assert "not established" in text


def test_a_word_that_every_patch_has_is_not_the_objects():
    """Beyond random directions, but not beyond the rest of the image."""
    found = claimed(table(0.6, 0.6))
    assert not [one for one in of(found, "named") if one.established]
    assert all(one.established for one in of(found, "named-random"))


def test_random_weights_that_show_it_too_block_it():
    assert not [one for one in of(claimed(table(0.7, 0.3), table(0.7, 0.3, seed=1)), "named") if one.established]
    found = claimed(table(0.7, 0.3), table(0.3, 0.3, seed=1))
    assert [one.where for one in of(found, "named") if one.established] == ["2"]
    assert [one.where for one in of(found, "named-beyond") if one.established] == ["2"]


def test_noise_names_little():
    false = sum(any(one.established for one in of(claimed(table(0.3, 0.3, seed=s)), "named")) for s in range(40))
    assert false <= 5
