"""`chiasm look`: tables against plain attention matrices, findings and figures from them, mistakes."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests.models.inside.test_context_index import records_and_states, save
from tests.studies.flow import flow_runs
from tests.support import factories, factories_senses
from tests.support.charts import found as found_in
from tests.support.charts import pictured, rows, titles

from chiasm.core.errors import ChiasmError
from chiasm.runners.examples import run_examples
from chiasm.studies.look import STUDY
from chiasm.studies.look.run import AttentionRows, LookExample, LookWork, compute
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.run import Run


def run(view, chosen, **options):
    return compute(LookSpec(**{"model": view, "data": chosen, "batch_size": 2, "maps": 1} | options))


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def chosen():
    return [replace(e, captions=("a red circle",)) for e in flow_runs.examples(3)]


@pytest.fixture(scope="module")
def found(view, chosen):
    return run(view, chosen, baseline=flow_runs.view_of(seed=1), queries=("last", "question"), heads=True)


def test_attention_follows_the_contract(found):
    rows = found.table("attention")
    assert rows.columns == ["example_id", "layer", "head", "query", "span", "index", "weight", "sink"]
    assert set(rows["head"]) == {"mean", "0", "1", "2", "3"}
    sums = rows.group_by("example_id", "layer", "head", "query").agg(pl.col("weight").sum())
    assert sums["weight"].to_list() == pytest.approx([1.0] * sums.height)


def test_weights_are_those_of_the_models_attention(view, chosen, found):
    encoded = view.encode(chosen[1])
    view.decoder.set_attn_implementation("eager")
    with torch.no_grad():
        whole = torch.stack(view.model(**encoded.inputs, output_attentions=True).attentions)[:, 0]
    view.decoder.set_attn_implementation("sdpa")
    rows = found.table("attention").filter(example_id=chosen[1].id, query="question", span="image", layer=2)
    plain = whole[2][:, encoded.spans["question"]].mean(1)[:, encoded.spans["image"]]
    assert rows.filter(head="3")["weight"].to_numpy() == pytest.approx(plain[3].numpy(), abs=1e-6)
    assert rows.filter(head="mean")["weight"].to_numpy() == pytest.approx(plain.mean(0).numpy(), abs=1e-6)


def test_shares_are_sums_of_weights(found):
    weights = found.table("attention").filter(head="mean").group_by("example_id", "layer", "query", "span")
    shares = found.table("shares").join(
        weights.agg(pl.col("weight").sum()), on=["example_id", "layer", "query", "span"]
    )
    assert shares.height > 50
    assert shares["share"].to_list() == pytest.approx(shares["weight"].to_list(), abs=1e-9)
    last = found.table("shares").filter(pl.col("query") == "last", ~pl.col("span").str.contains(r"[.\[]"))
    assert last.group_by("example_id", "layer").agg(pl.col("visible").sum())["visible"].to_list() == pytest.approx(
        [1.0] * 12
    )


def test_places_are_the_patches_of_the_picture(view, chosen, found):
    places = found.table("places")
    layout = view.encode(chosen[0]).layouts[0]
    assert set(places["example_id"]) == {chosen[0].id}
    assert places["position"].to_list() == layout.positions.tolist()
    assert set(places["picture"]) == {"image[0]"}
    assert places.select("x0", "y0", "x1", "y1").to_numpy() == pytest.approx(layout.rects)


@pytest.mark.parametrize("family", ["llava_next_video", "llava_onevision"])
def test_every_frame_is_drawn_with_its_own_attention(family):
    view = flow_runs.view_of(family)
    rng = np.random.default_rng(0)
    clips = [factories_senses.clip(rng, 3, 40, 30 + 20 * k) for k in range(2)]
    chosen = [replace(factories.example(seed=k), images=(), boxes=(), videos=(clip,)) for k, clip in enumerate(clips)]
    seen = run(view, chosen, maps=2, batch_size=1)
    encoded, places = view.encode(chosen[1]), seen.table("places").filter(example_id=chosen[1].id)
    frames = [name for name in encoded.spans if name.startswith("video.frame")]
    assert places["picture"].unique(maintain_order=True).to_list() == frames
    assert len(frames) > 1
    for name in frames:
        seen_at = places.filter(picture=name).filter(pl.col("x0").is_not_null())["position"].to_list()
        assert set(seen_at) <= set(encoded.spans[name].tolist())
        assert seen_at
    told = Run(seen)
    assert any("the video takes" in text.lower() for text in told.findings)
    # Each frame by its name, and beside it what its patches get at the chosen layer.
    panels = pictured(told.chart("map-1"))
    chosen_layer = {"expr": "\"from last\" + ', layer ' + layer"}
    assert [title for title, _ in panels] == [part for k in range(len(frames)) for part in (f"frame {k}", chosen_layer)]
    weights = seen.table("attention").filter(example_id=chosen[1].id, layer=3, span="video", head="mean")
    drawn = [values[3] for _, layers in panels for one in layers if "shown" in one.columns for values in one["shown"]]
    there = places.filter(pl.col("x0").is_not_null())["index"].to_list()
    assert drawn == pytest.approx((100 * weights["weight"].to_numpy())[there].tolist(), rel=1e-2, abs=1e-9)


def test_several_pictures_are_all_drawn(view):
    one, two = flow_runs.examples(2)
    both = replace(one, images=one.images + two.images)
    seen = run(view, [both])
    assert seen.table("places")["picture"].unique(maintain_order=True).to_list() == ["image[0]", "image[1]"]
    outlined = [any("object" in one.columns for one in layers) for _, layers in pictured(Run(seen).chart("map-0"))]
    assert outlined == [True, True, False, False]  # boxes belong to the first picture


def test_rows_of_a_hybrid_keep_the_numbers_of_its_layers():
    view = flow_runs.view_of("lfm2_vl")
    seen = run(view, flow_runs.examples(1))
    assert view.kinds == ("token_mixer", "attention", "token_mixer", "attention")
    for name in ("attention", "shares"):
        assert set(seen.table(name)["layer"]) == {1, 3}


def test_queries_over_the_whole_picture_are_read_and_not_drawn():
    seen = run(flow_runs.view_of("blip_2"), flow_runs.examples(1))
    assert "places" not in seen.tables()
    assert "attention" in Run(seen).charts
    assert not any(name.startswith("map") for name in Run(seen).charts)
    assert Run(seen).report().exists()


def test_pictures_outside_the_sequence_are_refused_with_the_reason():
    with pytest.raises(ChiasmError, match="layers 1, 3 attend to the image outside the sequence"):
        run(flow_runs.view_of("mllama"), flow_runs.examples(1))


def test_words_are_read_at_every_image_token_of_the_first_examples(view, chosen, found):
    lens = found.table("lens")
    patches = len(view.encode(chosen[0]).spans["image"])
    assert dict(lens.group_by("lens").len().rows()) == dict.fromkeys(
        ("output", "input", "context"), patches * (view.n_layers + 1)
    )
    assert lens.filter(lens="output")["cosine"].null_count() == lens.filter(lens="input")["prob"].null_count() > 0
    assert set(found.table("lens_controls")["control"]) == {"twin"}


def test_findings_and_figures(found):
    told = Run(found)
    assert any("attention of last" in text for text in told.findings)
    names = ["attention", "object", "words", "named", "map-0", "words-0"]
    assert told.charts == names
    for name in names:
        assert " ".join(titles(told.chart(name, width="3.3in"))[:1]).endswith("?")
    assert told.report().exists()


def test_curves_are_the_means_of_the_table_beside_the_baseline(found):
    told = Run(found)
    drawn = rows(told.chart("attention")).filter(panel="from last", label="question", x=1)
    mean = found.table("shares").filter(query="last", span="question", layer=1)["share"].mean()
    assert drawn.filter(role="measured")["y"].item() == pytest.approx(100 * mean, rel=1e-4)
    assert set(drawn["role"]) == {"measured", "random-weights baseline"}
    onto = rows(told.chart("object"))
    assert set(onto["role"]) == {"measured", "random-weights baseline", "share of the tokens"}
    assert onto["high"].drop_nulls().is_between(0, 100).all()


def test_a_reader_chooses_layer_and_head_and_paper_shows_some_layers(view, chosen):
    seen = run(view, chosen[:1], heads=True, maps=1, controls=False)
    chart = Run(seen).chart("map-0")
    bound = {one["name"]: one["bind"] for params in found_in(chart, "params") for one in params if "bind" in one}
    assert bound["layer"]["max"] == view.n_layers - 1
    heads = bound["head"]["options"]
    assert heads == ["mean", *map(str, range(len(heads) - 1))]
    [values] = [one["shown"] for _, layers in pictured(chart) for one in layers if "shown" in one.columns]
    weight = seen.table("attention").filter(layer=2, head="1", span="image", index=5, query="last")["weight"].item()
    assert values[5][2 * len(heads) + 2] == pytest.approx(100 * weight, rel=1e-2)
    paper = Run(seen).chart("map-0", width="7in", layers=[1, 3])
    flat = [title for title, _ in pictured(paper)]
    assert flat == ["image", "from last, layer 1", "from last, layer 3"]
    assert not any("bind" in one for params in found_in(paper, "params") for one in params)
    with pytest.raises(ChiasmError, match=f"draw layer 99: this run has layers 0, .*{view.n_layers - 1}"):
        Run(seen).chart("map-0", layers=[1, 99])
    with pytest.raises(ChiasmError, match="draw state 99: this run has states 0, "):
        Run(seen).chart("words-0", states=[99])


def test_the_page_says_of_which_parts_nothing_is_tested(found):
    reporter = Run(found).reporter
    [note] = [note for note in reporter.notes() if note.startswith("Claims are about what image")]
    said = {one.about for one in reporter.claimed if one.kind == "share"}
    assert {one.rpartition(" ")[2] for one in said} == {"image"}
    assert ": of prefix, between, question, suffix, last the chart shows" in note
    assert note in Run(found).caption("attention")


def test_without_controls_or_pictures(view):
    blind = [replace(e, images=(), boxes=()) for e in flow_runs.examples(2)]
    seen = run(view, blind, controls=False)
    assert seen.tables() == ["examples", "attention", "shares", "claims"]
    assert Run(seen).charts == ["attention"]
    assert Run(seen).findings


def test_resuming_gives_the_same_tables(view, chosen, found, tmp_path):
    spec = LookSpec(model=view, data=chosen, batch_size=2, maps=1, out=tmp_path / "run")
    facts = run(view, chosen).manifest
    with STUDY.open(spec, {key: facts[key] for key in ("model", "data")}) as directory:
        run_examples(LookWork(spec, view, None), chosen[:2], directory, 2, "look")  # killed before the second batch
    again = run(view, chosen, out=tmp_path / "run", resume=True)
    whole = run(view, chosen)
    assert again.table("attention").equals(whole.table("attention"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": ()}, "no span was named"),
        ({"queries": ("last", "last")}, "given twice"),
        ({"maps": -1}, "it must be >= 0"),
        ({"queries": ("nowhere",)}, "span `nowhere`"),
    ],
)
def test_mistakes(view, chosen, options, message):
    with pytest.raises(ChiasmError, match=message):
        run(view, chosen, **options)


def test_without_captions_words_are_drawn_and_not_judged(view):
    seen = run(view, flow_runs.examples(2), controls=False)
    assert seen.table("lens")["in_captions"].null_count() == seen.table("lens").height
    told = Run(seen)
    assert "words-0" in told.charts
    assert "words" not in told.charts
    assert not any("caption" in text for text in told.findings)


def test_words_are_those_of_an_index_and_another_one_is_no_resumed_run(view, chosen, tmp_path):
    records, states = records_and_states(view)
    index = save(tmp_path / "index", records, states)
    options = {"limit": 2, "maps": 1, "named": 0, "controls": False, "context_index": str(index)}
    done = run(view, chosen, out=tmp_path / "run", **options)
    words = done.table("lens").filter(lens="context")["word"].unique().to_list()
    assert words
    assert set(words) <= {"red", "circle", "and", "blue", "square", "is", "the", "left", "of"}
    save(tmp_path / "other", records, {2: states[2]})
    (index / "layer_1" / "embeddings_cache.pt").unlink()
    with pytest.raises(ChiasmError, match="data"):
        run(view, chosen, out=tmp_path / "run", resume=True, **options)
    with pytest.raises(ChiasmError, match="of no layer"):
        run(view, chosen, **options | {"context_index": str(tmp_path)})


def test_layers_may_differ_in_their_number_of_heads(view, chosen):
    encoded = view.encode(chosen[0])
    few, many = (torch.rand(1, heads, encoded.length).softmax(-1) for heads in (2, 5))
    rows = AttentionRows((1, 3), (few, many))
    assert torch.equal(rows.mean(), torch.stack([few.mean(1), many.mean(1)]))
    work = LookWork(LookSpec(model=view, data=chosen, heads=True, queries=("last",)), view, None)
    table = pl.concat(work._attention(LookExample(chosen[0], encoded, None, False, False), rows))
    heads = table.group_by("layer").agg(pl.col("head").unique().sort()).sort("layer")["head"].to_list()
    assert heads == [["0", "1", "mean"], ["0", "1", "2", "3", "4", "mean"]]
    fourth = table.filter((pl.col("layer") == 3) & (pl.col("head") == "4"))["weight"].to_numpy()
    np.testing.assert_array_equal(fourth, many[0, 4].double().numpy())
