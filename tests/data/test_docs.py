"""The page docs/data.md says what the readers do."""

import re
from pathlib import Path

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.media import MAX_PIXELS
from chiasm.data.files import FIELDS, read_jsonl
from chiasm.data.layouts import LAYOUTS
from chiasm.data.layouts.gqa import TYPES
from chiasm.data.metrics import names
from chiasm.data.tasks import TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_example_on_the_page_can_be_read(tmp_path):
    [line] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "page.jsonl").write_text(line)
    [example] = read_jsonl(tmp_path / "page.jsonl")
    assert example.image == tmp_path / "photos" / "kitchen.jpg"
    assert (example.answer, example.boxes[0].name) == ("empty", "jar")


def test_the_page_has_every_field_every_type_and_the_limit():
    table = PAGE.split("| field |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))) == set(FIELDS)
    for name, (structural, semantic, detailed) in TYPES.items():
        [row] = re.findall(rf"\| {name} \| (.*?) \| (.*?) \|", PAGE)
        assert (row[0], set(row[1].split(", "))) == (f"{structural}, {semantic}", detailed)
    assert f"{MAX_PIXELS // 1_000_000} million pixels" in PAGE


def test_the_page_has_every_layout_metric_measure_and_task():
    for layout in LAYOUTS:
        assert f"`{layout.name}" in PAGE or layout.name in ("gqa", "flow"), layout.name
    rows = {row.split("|")[1].strip(" `"): row for row in PAGE.split("## Metrics")[1].splitlines() if "|" in row}
    assert set(names()) <= set(rows)
    assert {measure for measure in ANSWER_METRICS if f"`{measure}`" not in PAGE} == set()
    assert {task for task in TASKS if f"`{task}`" not in PAGE} == set()
