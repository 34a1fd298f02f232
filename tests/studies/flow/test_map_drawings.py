"""Which maps stand in a report, and what stands on them."""

import numpy as np
import polars as pl
from tests.support import flow_tables as made

from chiasm.results.images import KeptImage
from chiasm.studies.flow.map_drawings import REPORTED, map_drawings

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


def test_a_report_shows_some_of_many_maps_and_all_can_be_drawn():
    drawn = drawings(13)
    assert list(drawn) == [f"patches-{k}" for k in range(13)]
    reported = [name for name, one in drawn.items() if one.reported]
    assert len(reported) == REPORTED
    assert {"patches-0", "patches-12"} <= set(reported), "the strongest and the weakest"
    assert "Number 13 of 13 maps from the weakest to the strongest" in drawn["patches-0"].caption()
    assert all(one.reported for one in drawings(REPORTED).values())
    assert "Number" not in drawings(REPORTED)["patches-0"].caption()


def test_a_map_says_what_was_asked_and_what_is_followed():
    figure = drawings(1)["patches-0"].draw()
    assert figure.get_suptitle() == "What color is it?\nLabel: red. Followed: Red."
    assert {"image", "leave-one-out", "keep-one"} <= {axes.get_title(loc="left") for axes in figure.axes}


def test_runs_that_kept_no_values_are_drawn_as_they_were():
    drawn = drawings(8, old=True)
    assert all(one.reported for one in drawn.values())
    assert [axes.get_title(loc="left") for axes in drawn["patches-7"].draw().axes[:2]] == [
        "image",
        "effect of each patch",
    ]
    assert "each of 64 patches alone is hidden" in drawn["patches-7"].caption()
