"""A relation is established only where it outlives the correction for all that were looked at."""

import polars as pl
import pytest

from chiasm.studies.compare.findings import compare_findings

NAMES = [(name, statistic) for name in ("ima_0", "ima_same") for statistic in ("mean_token", "median_token")]


def related(least: float, spearman: float = -0.6) -> pl.DataFrame:
    """Four scores, the last of which has `least` as its p-value."""
    rows = [
        {"name": name, "statistic": statistic, "p": p, "spearman": spearman, "pearson": spearman, "models": 12}
        for (name, statistic), p in zip(NAMES, (0.5, 0.6, 0.7, least), strict=True)
    ]
    return pl.DataFrame(rows).with_columns(pearson_low=-0.9, pearson_high=0.1, smallest=1e-4)


ROWS = pl.DataFrame({"model": [f"m{k}" for k in range(12)], "accuracy": [k / 12 for k in range(12)]})
ROWS = ROWS.with_columns(accuracy_low=pl.col("accuracy") / 2, accuracy_high=(pl.col("accuracy") + 1) / 2)
OUTCOMES = ROWS.select("model", task=pl.lit("qa"), metric=pl.lit("accuracy"), n=pl.lit(24))


@pytest.mark.parametrize(("least", "settled"), [(0.039, False), (0.0126, False), (0.0124, True), (0.001, True)])
def test_four_scores_are_corrected_for(least, settled):
    texts = [finding.text for finding in compare_findings(ROWS, related(least), OUTCOMES)]
    [chosen] = [text for text in texts if text.startswith("ima_same (median token)")]
    assert ("goes against accuracy" in chosen) == settled
    assert ("is not shown to go" in chosen) != settled
    assert "corrected for 4 of them" in chosen
    assert any("91.7 % (95 % interval 45.8 to 95.8, n = 24) in m11" in text for text in texts)


def test_a_score_without_spread_counts_for_nothing_in_the_correction():
    frame = related(0.02).with_columns(
        p=pl.when(pl.col("name") == "ima_0").then(None).otherwise(pl.col("p")),
        spearman=pl.when(pl.col("name") == "ima_0").then(None).otherwise(pl.col("spearman")),
    )
    texts = [finding.text for finding in compare_findings(ROWS, frame)]
    assert any(text.startswith("ima_same (median token) goes against accuracy") for text in texts)
    assert sum("is the same for all 12 models" in text for text in texts) == 2
