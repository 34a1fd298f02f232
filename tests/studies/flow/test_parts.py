"""A part of a cut beside the whole: paired, in the examples that have both, and only where the part has an effect."""

import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.core.claims import of_kind
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.tables import SIZE_MATCHED

WHOLE, PART = "image->question", "image.object->question"


def _tables(more, examples=48):
    """The part changes what the whole does by `more` nat, in half of the examples."""
    whole = made.effects(8, (WHOLE,), examples=examples)
    few = whole.filter(pl.col("example_id") < f"q{examples // 2:04d}")
    part = few.with_columns(cut=pl.lit(PART), logprob_cut=pl.col("logprob_cut") + more)
    still = made.effects(8, (WHOLE, PART), examples=examples, strength=0, seed=7)
    controls = still.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    return {"effects": pl.concat([whole, part]), "controls": controls}


@pytest.mark.parametrize(
    ("more", "verdict", "said"),
    [
        (-0.3, "established", "costs more"),
        (0.3, "established", "costs less"),
        (0.0, "practically none", "practically the same"),
    ],
)
def test_the_difference_is_that_of_the_same_examples(more, verdict, said):
    found = claims(_tables(more))
    (one,) = of_kind(found, "part")
    assert one.about == PART
    assert one.control == WHOLE
    assert one.effect == pytest.approx(more, abs=1e-9)
    assert one.n == 24
    assert one.verdict == verdict
    own = next(other for other in of_kind(found, "effect", PART) if other.where == one.where)
    assert own.effect - one.control_effect == pytest.approx(more, abs=1e-9)
    assert said in " ".join(finding.text for finding in flow_findings(found, layers=8))


def test_a_part_without_an_effect_and_a_cut_of_another_target_are_not_compared():
    tables = _tables(0.0)
    nothing = pl.when(pl.col("cut") == PART).then("logprob_clean").otherwise("logprob_cut")
    still = {**tables, "effects": tables["effects"].with_columns(logprob_cut=nothing)}
    assert not of_kind(claims(still), "part")
    other = tables["effects"].with_columns(pl.col("cut").replace(PART, "image.object->last"))
    assert not of_kind(claims({**tables, "effects": other}), "part")
