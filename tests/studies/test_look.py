"""`chiasm look`: tables against plain attention matrices, findings and figures from them, mistakes."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from tests.studies import flow_runs

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.studies.look import run_look
from chiasm.studies.look_spec import LookSpec
from chiasm.studies.run import Run


def run(view, chosen, out=None, twin=None, resume=False, **options):
    spec = LookSpec(**{"model": "m", "data": "d", "unit": 2, "maps": 1} | options, twin="twin" if twin else None)
    with RunDirectory.open(out, spec, resume=resume) as directory:
        run_look(spec, view, chosen, directory, twin)
    return directory


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def chosen():
    return [replace(e, captions=("a red circle",)) for e in flow_runs.examples(3)]


@pytest.fixture(scope="module")
def found(view, chosen):
    return run(view, chosen, twin=flow_runs.view_of(seed=1), query=("last", "question"), heads=True)


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
    assert places.select("x0", "y0", "x1", "y1").to_numpy() == pytest.approx(layout.rects)


def test_words_are_read_at_every_image_token_of_the_first_examples(view, chosen, found):
    lens = found.table("lens")
    patches = len(view.encode(chosen[0]).spans["image"])
    assert lens.height == patches * (view.n_layers + 1)
    assert set(found.table("lens_controls")["control"]) == {"twin"}


def test_findings_and_figures(found):
    told = Run(found)
    assert any("attention of last" in text for text in told.findings)
    assert {"attention", "object", "words", "map-0-last", "map-0-question", "words-0"} == set(told.figures)
    for name in told.figures:
        assert told.figure(name).axes
    assert told.report().exists()


def test_without_controls_or_pictures(view):
    blind = [replace(e, images=(), boxes=()) for e in flow_runs.examples(2)]
    seen = run(view, blind, controls=False)
    assert seen.tables() == ["examples", "attention", "shares"]
    assert Run(seen).figures == ["attention"]
    assert Run(seen).findings


def test_resuming_gives_the_same_tables(view, chosen, found, tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        _interrupted(view, chosen, tmp_path / "run")
    again = run(view, chosen, tmp_path / "run", resume=True)
    whole = run(view, chosen)
    assert again.table("attention").equals(whole.table("attention"))


def _interrupted(view, chosen, out):
    class Stops(list):
        def __getitem__(self, key):
            if isinstance(key, slice) and key.start == 2:
                raise RuntimeError("stop")
            return super().__getitem__(key)

    run(view, Stops(chosen), out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": ()}, "no span was named"),
        ({"query": ("last", "last")}, "given twice"),
        ({"maps": -1}, "the least is 0"),
        ({"query": ("nowhere",)}, "span `nowhere`"),
    ],
)
def test_mistakes(view, chosen, options, message):
    with pytest.raises(ChiasmError, match=message):
        run(view, chosen, **options)
