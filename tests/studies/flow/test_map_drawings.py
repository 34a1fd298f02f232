"""Which maps stand in a report, and what stands on them."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made
from tests.support.charts import found, pictured, shown, subtitles, titles

from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.results.images import KeptImage
from chiasm.studies.flow.map_drawings import MIN_REACH, REPORTED, MapOfOne, map_drawings, patch_maps

KEPT = KeptImage(np.full((64, 64, 3), 200, np.uint8), (), 1.0)


def tables(count):
    patches = pl.concat([made.patches(seed=k).with_columns(example_id=pl.lit(f"q{k}")) for k in range(count)])
    change = pl.col("logprob_cut") - pl.col("logprob_clean")
    # The later the example, the weaker its map.
    scale = 1 + count - pl.col("example_id").str.slice(1).cast(pl.Int64)
    valued = patches.select("example_id", "type", "patch", value=-change * scale, answer=pl.lit("Red"))
    values = pl.concat(
        [
            valued.with_columns(method=pl.lit(method), low=pl.lit(None), high=pl.lit(None), in_object=pl.lit(None))
            for method in ("leave-one-out", "keep-one")
        ]
    )
    examples = patches.select("example_id", "type").unique(maintain_order=True)
    return patches, values, examples.with_columns(question=pl.lit("What color is it?"), answer=pl.lit("red"))


def drawings(count, old=False):
    patches, values, examples = tables(count)
    kept = dict.fromkeys(examples["example_id"], KEPT)
    return map_drawings(kept, patches, None if old else values, examples)


def test_a_report_shows_some_of_many_maps_in_one_grid_and_each_can_be_drawn():
    drawn = drawings(13)
    assert list(drawn) == ["patches", *(f"patches-{k}" for k in range(13))]
    assert [name for name, one in drawn.items() if one.reported] == ["patches"]
    assert f"{REPORTED} of 13 maps, at even steps from the weakest" in drawn["patches"].caption()
    assert "maps, at even steps" not in drawings(REPORTED)["patches"].caption()
    grid = pictured(drawn["patches"].draw(SCREEN))
    assert len(grid) == 3 * REPORTED
    values = [[one[0] for one in frame["shown"]] for _, layers in grid for frame in layers if "shown" in frame.columns]
    strongest, weakest = (max(map(abs, part)) for part in (values[-1], values[0]))
    assert strongest > 5 * weakest, "from the weakest to the strongest"


def test_a_map_says_what_was_asked_and_what_is_followed():
    chart = drawings(1)["patches-0"].draw(SCREEN)
    assert {"What color is it?", "Label: red. Followed: Red.", "image", "leave-one-out"} <= {
        *titles(chart),
        *subtitles(chart),
    }
    _, values, _ = tables(1)
    own = values.filter(method="keep-one")["value"]
    assert shown(chart)["keep-one"] == pytest.approx(own.to_list(), rel=1e-2)


def test_methods_of_one_example_share_one_scale_that_is_white_at_no_effect():
    chart = drawings(1)["patches-0"].draw(size_of("3.3in"))
    [domain] = {tuple(one["scale"]["domain"]) for one in found(chart, "color") if "scale" in one}
    largest = max(abs(value) for values in shown(chart).values() for value in values)
    assert domain == (-largest, largest)
    blank = MapOfOne(KEPT, {"keep-one": made.patches().with_columns(value=pl.lit(1e-5))})
    [least] = [one["scale"]["domain"] for one in found(patch_maps([blank], SCREEN), "color") if "scale" in one]
    assert least == [-MIN_REACH, MIN_REACH]


def test_tiles_of_higher_resolution_have_a_panel_of_their_own():
    rows = made.patches(tiles=True).with_columns(value=pl.lit(0.5))
    chart = patch_maps([MapOfOne(KEPT, {"keep-one": rows})], SCREEN)
    assert [title for title, _ in pictured(chart)] == ["image", "keep-one", "keep-one, tiles"]


def test_a_patch_map_is_of_one_example():
    with pytest.raises(ValueError, match="at least one method"):
        patch_maps([MapOfOne(KEPT, {})], SCREEN)
    two = pl.concat([made.patches(), made.patches().with_columns(example_id=pl.lit("b"))])
    with pytest.raises(ValueError, match="found 2"):
        patch_maps([MapOfOne(KEPT, {"keep-one": two.with_columns(value=pl.lit(0.0))})], SCREEN)


def test_runs_that_kept_no_values_are_drawn_by_what_hiding_a_patch_costs():
    drawn = drawings(8, old=True)
    patches, _, _ = tables(8)
    own = patches.filter(example_id="q7")
    cost = own.select(pl.col("logprob_clean") - pl.col("logprob_cut")).to_series()
    assert shown(drawn["patches-7"].draw(SCREEN))["leave-one-out"] == pytest.approx(cost.to_list(), rel=1e-2)
    assert "Label: red." in subtitles(drawn["patches-7"].draw(SCREEN))
