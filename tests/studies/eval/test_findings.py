"""Right answers beside guessing; measures in words and in figures, also without an interval or a divisor."""

import polars as pl
from tests.support import flow_tables as made
from tests.support.charts import rows

import chiasm
from chiasm.results.charts.theme import SCREEN
from chiasm.results.claims import read_claims
from chiasm.results.tables import conform
from chiasm.studies.eval.charts import drawn, measures_caption, measures_chart
from chiasm.studies.eval.findings import eval_findings, metric_findings
from chiasm.studies.eval.tables import METRICS


def table(*rows):
    keys = ("metric", "type", "shown", "value", "low", "high", "n")
    return conform(METRICS, [dict(zip(keys, row, strict=True)) for row in rows])


POPE = table(
    ("pope_f1", "all", "image", 0.8, 0.7, 0.9, 3),
    ("pope_f1", "random", "image", 0.8, None, None, 3),
    ("pope_precision", "all", "image", None, None, None, 0),
    ("pope_yes_share", "all", "image", 0.25, 0.1, 0.4, 4),
    ("pope_unclear", "all", "image", 0.5, 0.2, 0.8, 4),
    ("pope_f1", "all", "blank", 0.6, None, None, 3),
)


def told(metrics):
    """The findings on measures of a run with these tables."""
    answers = (
        pl.DataFrame({"answer": ["yes", "no", "Yes", "no"]}).with_row_index("example_id").cast({"example_id": str})
    )
    answers = answers.with_columns(type=pl.lit("a"), generated=pl.lit(""), correct=pl.lit(True))
    found = read_claims(chiasm.claims("eval", {"eval": answers, "metrics": metrics}))
    return [finding.text for finding in metric_findings(found)]


def test_accuracy_beside_guessing():
    findings = eval_findings(read_claims(chiasm.claims("eval", {"eval": made.evaluation()})))
    assert len(findings) == 2
    assert "of questions are answered correctly" in findings[0].text
    assert ", above the" in findings[0].text
    few = read_claims(chiasm.claims("eval", {"eval": made.evaluation(right=0.3)}))
    assert "not established to be above" in eval_findings(few)[0].text


def test_pope_is_told_beside_always_yes():
    first, *others = told(POPE)
    assert first.startswith("POPE F1 80.0 % (95 % interval 70.0 to 90.0, n = 3)")
    assert "uncontrolled, as no blind control" in first
    assert "always yes would reach 66.7 %" in first
    assert "25.0 % of answers are yes, 50.0 % say neither yes nor no" in first
    assert others == []  # precision has nothing to divide by


def test_descriptions_are_told_with_their_length():
    rows = table(
        ("cider_d", "all", "image", 1.5, 1.0, 2.0, 9),
        ("caption_words", "all", "image", 12.0, 11.0, 13.0, 9),
        ("chair_s", "all", "image", 0.1, 0.0, 0.2, 9),
    )
    texts = told(rows)
    assert texts[0].startswith("CIDEr-D 1.50 (95 % interval 1.00 to 2.00, n = 9); uncontrolled")
    assert texts[0].endswith("; at 12.0 words a text.")
    assert texts[1].startswith("CHAIR_s 10.0 %")
    assert len(texts) == 2


def test_figures_draw_what_has_a_value():
    assert drawn(POPE, True)["metric"].to_list().count("pope_precision") == 0
    assert drawn(POPE, False).height == 0
    labels = rows(measures_chart(POPE, SCREEN, percent=True), "row")["row"].unique(maintain_order=True).to_list()
    assert labels == ["POPE F1 (n = 3)", "POPE F1, random", "POPE share of yes (n = 4)", "POPE unclear (n = 4)"]
    assert "Hollow" not in measures_caption(POPE.filter(pl.col("shown") == "image"))
    assert "--blind" in measures_caption(POPE.filter(pl.col("shown") == "image"))
    many = table(*(("vqa_accuracy", f"t{k}", "image", 0.5, 0.4, 0.6, 9) for k in range(7)))
    assert drawn(many, True).height == 0
