"""What to do after a run of `skip`: the plan or the candidates, by which rule, and what would decide."""

import re

import polars as pl
import pytest
from tests.support import skip_tables as made

from chiasm.core.claims import of_kind
from chiasm.studies.skip.advice import skip_advice
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.tables import NONE

FAST = {"safe": (0.8, 0.8), "cheap": (0.7, 0.7), "lossy": (0.5, 0.5)}
SHARES = {"safe": 0.8, "cheap": 0.7, "lossy": 0.5}


@pytest.mark.parametrize(
    ("n", "does"), [(100, "Leave the model as it is for now. "), (600, "Use `plan.json`, which holds ")]
)
def test_the_advice_says_what_to_do_and_not_the_headline_again(n, does):
    losses = {"safe": 0.0, "cheap": 0.0, "lossy": 0.1}
    tables = {"verdicts": made.verdicts(losses, n=n), "plans": made.plans(SHARES, 0.02), "timings": made.timings(FAST)}
    advice = " ".join(skip_advice(claims(tables)))
    assert advice.startswith(does)
    assert "recommended" not in advice
    assert ("--limit" in advice or "ask for more" in advice) == (n == 100)
    assert skip_advice([]) == []


def test_more_examples_are_not_promised_to_decide_where_no_plan_saves_time():
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=100), "plans": made.plans({"a": 0.5})}
    slow, fast = (tables | {"timings": made.timings({"a": (ratio, ratio)}, noise=0.02)} for ratio in (1.4, 0.5))
    said = "no plan is established to save time here, whatever the examples."
    assert said in " ".join(skip_advice(claims(slow)))
    assert said not in " ".join(skip_advice(claims(fast)))


def test_a_plan_that_is_put_forward_comes_with_its_time():
    """Fewer operations may take longer, which whoever is told of the plan has to know."""
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=100), "plans": made.plans({"a": 0.5})}
    tables["timings"] = made.timings({"a": (1.6, 0.7)}, noise=0.02)
    advice = " ".join(skip_advice(claims(tables)))
    assert re.search(r"one prompt alone takes \d+ % more time \(from \d+ % more to \d+ % more\)", advice)
    assert re.search(r"a batch of prompts takes \d+ % less time \(from \d+ % less to \d+ % less\)", advice)
    assert (
        "For a batch of prompts `a` comes nearest, which of the plans established to be faster may lose least" in advice
    )
    assert "For one prompt alone no plan is established to be faster." in advice
    del tables["timings"]
    assert "No times were taken. Nearest to the loss allowed comes `a`" in " ".join(skip_advice(claims(tables)))


def test_no_loss_is_said_with_a_minus_sign():
    answers = made.verdicts({"a": 0.0, "b": 0.0}, n=100)
    # Four examples that the plain model had wrong are right under the plan.
    known = answers.filter(plan=NONE, correct=False)["example_id"].head(4).to_list()
    right = pl.col("correct") | ((pl.col("plan") == "a") & pl.col("example_id").is_in(known))
    gaining = {"verdicts": answers.with_columns(correct=right), "plans": made.plans({"a": 0.5, "b": 0.6}, 0.001)}
    gaining["timings"] = made.timings({"a": (0.7, 0.7), "b": (0.9, 0.5)}, noise=0.02)
    advice = " ".join(skip_advice(claims(gaining)))
    assert not re.search(r"(?<!\w)[-\u2212]\d", advice), advice
    assert "4.0 points more right answers (95 % interval from " in advice
    assert "For one prompt alone and for a batch of prompts `a` comes nearest, " in advice
    assert re.search(r"To decide, ask for --limit \d+ or more|To decide, ask for more examples", advice)


def test_the_rule_that_chose_a_candidate_is_said_with_what_is_faster_still():
    """Without it, a reader takes the plan that saves most time and wonders why another is named."""
    losses = {"safe": 0.0, "lossy": 0.1}
    tables = {"verdicts": made.verdicts(losses, n=100), "plans": made.plans({"safe": 0.8, "lossy": 0.5})}
    tables["timings"] = made.timings({"safe": (1.0, 0.8), "lossy": (1.0, 0.5)}, noise=0.02)
    found = claims(tables)
    bounds = {one.about: one.high for one in of_kind(found, "kept")}
    advice = " ".join(skip_advice(found))
    assert f"may lose least (at most {bounds['safe']:.1f} points, by its interval): " in advice
    assert re.search(r"`lossy` saves more time there \(\d+ % less time", advice)
    assert f"but may lose up to {bounds['lossy']:.1f} points." in advice
    # Where the candidate is the fastest, nothing is said of others.
    tables["timings"] = made.timings({"safe": (1.0, 0.4), "lossy": (1.0, 0.5)}, noise=0.02)
    assert "saves more time" not in " ".join(skip_advice(claims(tables)))


def test_of_plans_within_the_loss_allowed_the_fastest_is_the_candidate():
    """Both keep within it, and neither is recommended, as both read a single prompt slower."""
    names = ("slow", "fast")
    tables = {"verdicts": made.verdicts(dict.fromkeys(names, 0.0), n=600)}
    tables["plans"] = made.plans(dict.fromkeys(names, 0.5), 0.02)
    tables["timings"] = made.timings({"slow": (1.5, 0.9), "fast": (1.5, 0.6)}, noise=0.02)
    advice = " ".join(skip_advice(claims(tables)))
    assert "`fast` comes nearest, the fastest of those that keep within the loss allowed: " in advice
