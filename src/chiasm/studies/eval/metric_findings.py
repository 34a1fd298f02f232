"""What the measures of answers say, in words."""

import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.findings import Finding


def metric_findings(metrics: pl.DataFrame, answers: pl.DataFrame) -> list[Finding]:
    """One finding per measure over all examples, in the order of the table, beside what a blind model reaches.

    Measures that only describe (lengths, the share of yes) are told beside those that they explain.
    """
    found = []
    rows = metrics.filter((pl.col("type") == "all") & (pl.col("shown") == "image"))
    blank = metrics.filter((pl.col("type") == "all") & (pl.col("shown") == "blank"))
    for place, row in enumerate(rows.iter_rows(named=True)):
        metric = ANSWER_METRICS[row["metric"]]
        if metric.kind == "description" or row["metric"] == "accuracy":
            continue
        text = f"{metric.title[0].upper()}{metric.title[1:]} {told(row)}"
        beside = [_blind(row["metric"], blank), _context(row["metric"], rows, answers)]
        found.append(Finding("; ".join([text, *filter(None, beside)]) + ".", 90.0 - place))
    return found


def told(row: dict) -> str:
    """The value with its interval, or why there is none."""
    metric = ANSWER_METRICS[row["metric"]]
    if row["value"] is None:
        return "has nothing to divide by"
    if row["low"] is None:
        return f"{metric.format(row['value'])} (n = {row['n']}, too few for an interval)"
    low, high = metric.format(row["low"]), metric.format(row["high"])
    return f"{metric.format(row['value'])} (95 % interval {low} to {high}, n = {row['n']})"


def _blind(name: str, blank: pl.DataFrame) -> str:
    row = blank.filter(pl.col("metric") == name)
    return f"with the image blanked {told(row.row(0, named=True))}" if row.height else ""


def _context(name: str, rows: pl.DataFrame, answers: pl.DataFrame) -> str:
    """What the number has to be read beside: always saying yes, or how much was said at all."""
    if name == "pope_f1":
        share = float((answers["answer"].str.to_lowercase() == "yes").mean() or 0)
        said, unclear = (
            float(rows.filter(pl.col("metric") == measure)["value"][0])
            for measure in ("pope_yes_share", "pope_unclear")
        )
        neither = f", {100 * unclear:.1f} % say neither yes nor no and count as yes" if unclear > 0 else ""
        best = 200 * share / (1 + share)
        return f"always yes would reach {best:.1f} %, and {100 * said:.1f} % of answers are yes{neither}"
    words = rows.filter(pl.col("metric") == "caption_words")
    if name in ("chair_i", "chair_s", "cider_d") and words.height:
        return f"at {words['value'][0]:.1f} words a text"
    return ""
