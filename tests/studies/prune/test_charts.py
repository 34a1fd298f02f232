import pytest
from tests.support.charts import found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.results.tables import conform
from chiasm.studies.prune.charts import masks_chart, transfer_chart
from chiasm.studies.prune.tables import DENSE, MASKS, POOLED, UNCALIBRATED

TYPES = ("counting", "spatial")


def masks(levels=((0.5, "unstructured"),), low=0.4, parts=("all",)):
    made = [row(DENSE, UNCALIBRATED, e, 0.9, 0.0, "none", "none", low) for e in (*TYPES, "all")]
    for sparsity, pattern in levels:
        for part in parts:
            for evaluation in (*TYPES, "all"):
                at = (sparsity, pattern, part, low)
                made.append(row("wanda", POOLED, evaluation, 0.8 - sparsity / 10, *at))
                made.append(row("random", UNCALIBRATED, evaluation, 0.1, *at))
                made += [row("wanda", name, evaluation, 0.7 + 0.1 * (name == evaluation), *at) for name in TYPES]
    return conform(MASKS, made)


def row(mask, calibration, evaluation, score, sparsity, pattern, part, low):
    bounds = {"low": low, "high": None if low is None else 0.95, "perplexity_low": low, "perplexity_high": 9.0}
    named = {"mask": mask, "calibration": calibration, "evaluation": evaluation, "score": score, "n": 40}
    return (
        named | bounds | {"sparsity": sparsity, "pattern": pattern, "part": part, "perplexity": 2.0, "max_loss": 0.01}
    )


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_the_map_holds_every_mask_and_type_with_its_share(width):
    chart = transfer_chart(masks(), size_of(width), sparsity=0.5, pattern="unstructured")
    data = rows(chart, "row", "column")
    assert data.select("row").unique(maintain_order=True)["row"].to_list() == [
        *TYPES,
        "all types",
        "random mask (control)",
        "untouched",
    ]
    own = data.filter(row="counting", column="counting (n = 40)").row(0, named=True)
    assert (own["value"], own["low"], own["high"], own["n"]) == (80.0, 40.0, 95.0, 40)
    if width is None:
        assert own["text"] == "80 | 40 to 95"
    assert {"Mask calibrated on", "Question type", "Right answers (%)"} <= set(titles(chart))


def test_every_level_is_a_panel_and_the_untouched_model_its_line():
    levels = ((0.3, "unstructured"), (0.5, "2:4"))
    chart = masks_chart(masks(levels), masks(levels), SCREEN)
    data = rows(chart, "row", "mark")
    assert data["panel"].unique(maintain_order=True).to_list() == ["30 % zeroed", "2:4 zeroed"]
    assert data.filter(row="Wanda")["value"].to_list() == [77.0, 75.0]
    assert data.filter(row="Wanda on random weights")["mark"].unique().to_list() == [
        "Wanda on random weights (control)"
    ]
    assert [one["datum"] for one in found(chart, "x") if "datum" in one] == [90.0, 90.0]


def test_parts_of_the_model_have_rows_of_their_own():
    data = rows(masks_chart(masks(parts=("all", "decoder")), None, SCREEN), "row")
    assert {"Wanda", "Wanda, decoder only"} <= set(data["row"])


def test_perplexities_stand_on_a_logarithmic_scale():
    chart = masks_chart(masks(), None, SCREEN, value="perplexity")
    assert rows(chart, "row").filter(row="Wanda").select("value", "low", "high").row(0) == (2.0, 0.4, 9.0)
    assert {one["type"] for one in found(chart, "scale") if "type" in one} == {"log"}


def test_what_one_input_has_no_interval_for_is_drawn_without_one():
    chart = masks_chart(masks(low=None), None, SCREEN)
    assert "low" not in rows(chart, "row").columns
    assert svg(specification(chart)).startswith("<svg")
    data = rows(transfer_chart(masks(low=None), SCREEN, sparsity=0.5, pattern="unstructured"), "row")
    assert not any("|" in text for text in data["text"])
