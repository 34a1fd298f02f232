"""The single examples of each study's page, from tables alone."""

from dataclasses import replace

import polars as pl
from tests.support import flow_tables as made

from chiasm.core.claims import Claim
from chiasm.studies.eval.browse import browsed as of_eval
from chiasm.studies.flow.browse import browsed as of_flow
from chiasm.studies.look.browse import browsed as of_look
from chiasm.studies.project.browse import browsed as of_project
from chiasm.studies.prune.browse import browsed as of_prune
from chiasm.studies.skip.browse import browsed as of_skip

EXAMPLES = pl.DataFrame({"example_id": ["a", "b"], "type": "t", "question": ["A?", "B?"], "answer": ["red", "blue"]})


def answers(**columns):
    return pl.DataFrame({"example_id": ["a", "b"], "type": "t", "answer": ["red", "blue"], **columns})


def test_flow_has_the_change_of_every_cut_at_every_layer():
    effects = made.effects(layers=4, cuts=made.CUTS[:2], examples=3)
    names = effects["example_id"].unique(maintain_order=True).to_list()
    known = pl.DataFrame({"example_id": [*names, "unused"], "type": "t", "question": "?", "answer": "red"})
    found = of_flow(effects, known, kept="correct")
    assert [one.id for one in found.examples] == names
    row = effects.filter(example_id=names[1], cut=made.CUTS[1], layer=2).row(0, named=True)
    assert found.examples[1].curves[made.CUTS[1]][2] == row["logprob_cut"] - row["logprob_clean"]
    assert found.examples[0].answers == (("the model", "red", True),)
    assert of_flow(effects, known, kept="all").examples[0].answers == (), "what was said is not known"
    said = pl.DataFrame({"example_id": names[:1], "text": ["Blue"], "right": [False]})
    assert of_flow(effects, known, kept="all", followed=said).examples[0].answers == (("the model", "Blue", False),)


def test_flow_names_the_finding_that_examples_may_contradict():
    effects = made.effects(layers=4, cuts=made.CUTS[:2], examples=3)
    names = effects["example_id"].unique(maintain_order=True).to_list()
    known = pl.DataFrame({"example_id": names, "type": "t", "question": "?", "answer": "red"})
    one = Claim(
        kind="effect", about=made.CUTS[1], where="2", quantity="q", unit="nat", effect=-1.0, n=3, verdict="established"
    )  # fmt: skip
    assert of_flow(effects, known, kept="all", found=one, least=0.1).against == (made.CUTS[1], 2, -1, 0.1)
    assert of_flow(effects, known, kept="all", found=replace(one, verdict="not established")).against is None
    assert of_flow(effects, known, kept="all").against is None


def test_flow_places_maps_and_leaves_out_tokens_that_have_no_place():
    effects = made.effects(layers=2, cuts=made.CUTS[:1], examples=1)
    name = effects["example_id"][0]
    known = pl.DataFrame({"example_id": [name], "type": "t", "question": "?", "answer": "red"})
    at = {"x0": [0.0, None], "y0": [0.0, None], "x1": [8.0, None], "y1": [8.0, None]}
    patches = pl.DataFrame({"example_id": name, "patch": [0, 1], **at})
    values = pl.DataFrame({"example_id": name, "patch": [0, 1], "method": "keep-one", "value": [0.5, 0.1]})
    [drawn] = of_flow(effects, known, kept="all", values=values, patches=patches).examples[0].maps
    assert (drawn.choice, list(drawn.corners), list(drawn.values)) == (
        ("each patch kept alone",),
        [(0.0, 0.0, 8.0, 8.0)],
        [0.5],
    )


def test_look_has_shares_in_per_cent_and_means_over_heads_before_heads():
    shares = pl.DataFrame(
        {"example_id": ["a"] * 4, "query": "last", "span": ["image", "image", "question", "question"]}
    )
    shares = shares.with_columns(layer=pl.Series([0, 1, 0, 1]), share=pl.Series([0.1, 0.2, 0.9, 0.8]))
    places = pl.DataFrame({"example_id": ["a"], "span": "image", "index": 0, "picture": "image[0]", "tile": "base"})
    places = places.with_columns(x0=pl.lit(0.0), y0=pl.lit(0.0), x1=pl.lit(8.0), y1=pl.lit(8.0))
    attention = pl.DataFrame({"example_id": ["a"] * 2, "query": "last", "layer": 0, "head": ["3", "mean"]})
    attention = attention.with_columns(span=pl.lit("image"), index=pl.lit(0), weight=pl.Series([0.4, 0.2]))
    found = of_look(shares, EXAMPLES, attention, places)
    [one] = found.examples
    assert one.curves == {"image": [10.0, 20.0], "question": [90.0, 80.0]}
    assert [drawn.choice[2] for drawn in one.maps] == ["mean over heads", "head 3"]
    assert list(one.maps[0].values) == [20.0]
    assert (found.peak, found.by) == ("largest share", "image")


def test_eval_shows_both_answers_and_judges_only_what_is_right_or_wrong():
    given = answers(generated=["Red", "red"], correct=[True, False])
    blind = answers(generated=["Blue", "Blue"], correct=[False, True]).head(1)
    first, second = of_eval(given, EXAMPLES, blind, scored=True).examples
    assert first.answers == (("the model", "Red", True), ("image blanked", "Blue", False))
    assert second.answers == (("the model", "red", False),)
    assert of_eval(given, EXAMPLES, None, scored=False).examples[0].answers[0].right is None


def test_skip_shows_plans_that_change_the_answer_and_no_control():
    rows = [
        ("none", "none", "Red", True, -0.1),
        ("search-50", "search", "Blue", False, -2.1),
        ("short-v", "short-v", "Red", True, -0.4),
        ("random-50-0", "random-layers", "Green", False, -9.0),
    ]
    verdicts = pl.DataFrame(rows, ["plan", "kind", "generated", "correct", "logprob"], orient="row")
    verdicts = verdicts.with_columns(example_id=pl.lit("a"), type=pl.lit("t"), answer=pl.lit("red"))
    [one] = of_skip(verdicts, EXAMPLES).examples
    assert one.answers == (("the plain model", "Red", True), ("under search-50", "Blue", False))
    assert (one.effect, one.under) == (2.0, "under search-50"), "which plan the number is of"
    assert of_skip(verdicts.filter(pl.col("plan") != "none"), EXAMPLES).examples == []


def test_prune_shows_wanda_on_all_types_by_level():
    rows = [("dense", "none", 0.0, "Red", True, 0.0), ("wanda", "all", 0.5, "Blue", False, -1.0)]
    rows.append(("wanda", "t", 0.5, "Green", False, -7.0))
    names = ["mask", "calibration", "sparsity", "generated", "correct", "logprob"]
    pruned = pl.DataFrame(rows, names, orient="row").with_columns(pattern=pl.lit("unstructured"), part=pl.lit("all"))
    pruned = pruned.with_columns(example_id=pl.lit("a"), type=pl.lit("t"), answer=pl.lit("red"))
    [one] = of_prune(pruned, EXAMPLES).examples
    assert one.answers == (("untouched", "Red", True), ("Wanda, 50 %", "Blue", False))
    assert (one.effect, one.under) == (1.0, "at 50 %")


def test_project_puts_the_best_setting_first_and_takes_one_seed():
    rows = [("zero-shot", 0, "cat"), ("zero-shot", 1, "dog"), ("ft-e2e", 0, "dog")]
    given = pl.DataFrame(rows, ["setting", "seed", "generated"], orient="row").with_columns(parsed=pl.col("generated"))
    given = given.with_columns(domain=pl.lit("d"), example_id=pl.lit("x"), label=pl.lit("dog"), projector=pl.lit("own"))
    [one] = of_project(given, {"d": "ft-e2e"}).examples
    assert one.id == "d/x"
    assert one.answers == (("ft-e2e", "dog", True), ("zero-shot", "cat", False))
