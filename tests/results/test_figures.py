import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tests.support import flow_tables as made

from chiasm.core.example import Box
from chiasm.results import figures, overlays, series
from chiasm.studies.eval import charts as eval_charts
from chiasm.studies.flow import captions, charts
from chiasm.studies.flow.tables import IMAGE_SWAP

WIDTHS = ("column", "page")
IMAGE = np.full((48, 64, 3), 200, np.uint8)


def windows(layers=4, examples=6):
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"example_id": f"{i}", "type": "t", "cut": "image->question", "layer": (a + b - 1) // 2}
            | {"start": a, "stop": b, "logprob_clean": -0.1, "logprob_cut": float(-0.1 * (b - a) + 0.01 * rng.normal())}
            for a in range(layers)
            for b in range(a + 1, layers + 1)
            for i in range(examples)
        ]
    )


ASKED = (
    "Is there a small blue square to the left of the large red triangle that stands at the bottom of the picture?",
    "Label: yes. Followed: Yes.",
)


def maps(*methods, tiles=False):
    rows = made.patches(tiles=tiles)
    change = pl.col("logprob_cut") - pl.col("logprob_clean")
    return {method: rows.with_columns(value=-(k + 1) * change) for k, method in enumerate(methods)}


DRAW = {
    "dose": lambda w: charts.dose_curve(made.effects(), made.controls(), width=w),
    "tracking": lambda w: charts.answer_tracking(made.answers(), made.answers(seed=8), width=w),
    "released": lambda w: charts.answer_tracking(made.answers(), as_released=True, width=w),
    "words": lambda w: charts.caption_words(made.words(), width=w),
    "patches": lambda w: overlays.patch_map(IMAGE, made.patches(), [Box("x", 9, 9, 9, 9)], width=w),
    "tiles": lambda w: overlays.patch_map(IMAGE, made.patches(tiles=True), width=w),
    "two_methods": lambda w: overlays.patch_maps(IMAGE, maps("leave-one-out", "keep-one"), heading=ASKED, width=w),
    "three_methods": lambda w: overlays.patch_maps(
        IMAGE, maps("leave-one-out", "keep-one", "shapley"), [Box("x", 9, 9, 9, 9)], heading=ASKED, width=w
    ),
    "methods_on_tiles": lambda w: overlays.patch_maps(IMAGE, maps("leave-one-out", "keep-one", tiles=True), width=w),
    "windows": lambda w: charts.flow_heatmap(windows(), "image->question", width=w),
    "bars": lambda w: eval_charts.accuracy(made.evaluation(), made.evaluation(right=0.4)),
}


def texts(figure):
    return [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("chiasm.results.series.RESAMPLES", 100)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DRAW)
def test_nothing_is_clipped_covered_or_too_small(name, width, monkeypatch):
    figure = DRAW[name](width)
    assert isinstance(figure, Figure)
    drawn, draw = [], matplotlib.text.Text.draw

    def noting(text, renderer):
        drawn.append(text)  # tick labels beyond the limits exist, but are not drawn
        draw(text, renderer)

    canvas = FigureCanvasAgg(figure)
    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", noting)
        canvas.draw()
    boxes = []
    for text in {id(t): t for t in drawn if t.get_text() and t.get_visible()}.values():
        box = text.get_window_extent(canvas.get_renderer())
        assert text.get_fontsize() >= 6
        assert min(box.x0, box.y0) >= -1, f"`{text.get_text()}` is clipped"
        assert box.x1 <= figure.bbox.x1 + 1, f"`{text.get_text()}` is clipped"
        assert box.y1 <= figure.bbox.y1 + 1, f"`{text.get_text()}` is clipped"
        boxes.append((text.get_text(), box))
    assert len(boxes) > 3
    for (a, first), (b, second) in itertools.combinations(boxes, 2):
        assert not _overlap(first, second), f"`{a}` covers `{b}`"


def _overlap(a, b):
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1


def test_maps_hold_the_numbers_of_the_table():
    rows = windows()
    axes = charts.flow_heatmap(rows, "image->question").axes[0]
    grid = np.ma.filled(axes.get_images()[0].get_array(), np.nan)
    change = pl.col("logprob_cut") - pl.col("logprob_clean")
    mean = rows.filter((pl.col("start") == 1) & (pl.col("stop") == 4)).select(change.mean()).item()
    assert grid[3, 1] == pytest.approx(mean)
    assert np.isnan(grid[0, 1])
    drawn = overlays.patch_map(IMAGE, made.patches()).axes[1].collections[0]
    change = made.patches().select(pl.col("logprob_cut") - pl.col("logprob_clean")).to_series()
    np.testing.assert_allclose(drawn.get_array(), change)
    assert drawn.norm.vmin == -drawn.norm.vmax


def test_majority_counts_every_type_by_itself():
    table = pl.DataFrame({"type": ["a"] * 4 + ["b"] * 2, "answer": ["x", "x", "x", "y", "z", "w"]})
    assert series.majority(table) == pytest.approx(4 / 6)


def test_methods_share_one_scale_and_stand_under_the_question():
    figure = overlays.patch_maps(IMAGE, maps("leave-one-out", "keep-one"), heading=ASKED)
    panels = [axes for axes in figure.axes if axes.collections and axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["leave-one-out", "keep-one"]
    first, second = (axes.collections[0] for axes in panels)
    change = made.patches().select(pl.col("logprob_cut") - pl.col("logprob_clean")).to_series()
    np.testing.assert_allclose(first.get_array(), -change)
    np.testing.assert_allclose(second.get_array(), -2 * change)
    assert first.norm is second.norm
    assert second.norm.vmax == -second.norm.vmin == pytest.approx(2 * change.abs().max())
    words = " ".join(figure.get_suptitle().split())
    assert words == " ".join(ASKED)
    # What a patch takes from the answer has the colour that hiding one that supports it has in the older maps.
    assert first.get_cmap().name == "PuOr_r"
    strange = overlays.patch_maps(IMAGE, maps("keep-one"), heading=("costs $5 or $6\x16?", "Label: \u8d64."))
    assert strange.get_suptitle() == "costs \\$5 or \\$6·?\nLabel: ·."
    blank = overlays.patch_maps(IMAGE, {"keep-one": maps("keep-one")["keep-one"].with_columns(value=pl.lit(1e-5))})
    assert blank.axes[1].collections[0].norm.vmax == overlays.MIN_REACH


def test_a_patch_map_is_of_one_example():
    with pytest.raises(ValueError, match="at least one method"):
        overlays.patch_maps(IMAGE, {})
    two = pl.concat([made.patches(), made.patches().with_columns(example_id=pl.lit("b"))])
    with pytest.raises(ValueError, match="found 2"):
        overlays.patch_maps(IMAGE, {"keep-one": two.with_columns(value=pl.lit(0.0))})
    with pytest.raises(ValueError, match="found 2"):
        overlays.patch_map(IMAGE, pl.concat([made.patches(), made.patches().with_columns(example_id=pl.lit("b"))]))


def test_files_are_the_same_bytes_every_time_and_text_stays_text(tmp_path):
    before = dict(matplotlib.rcParams)
    kept = {}
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths = figures.save(charts.answer_tracking(made.answers()), tmp_path / place, "answers")
        assert [p.name for p in paths] == ["answers.svg", "answers.pdf", "answers.png"]
        kept[place] = [p.read_bytes() for p in paths]
    assert kept["a"] == kept["b"]
    assert dict(matplotlib.rcParams) == before
    svg = kept["a"][0].decode()
    ET.fromstring(svg)
    assert "answer, capitalised" in svg
    assert "<dc:date>" not in svg
    assert b"/CreationDate" not in kept["a"][1]


def test_pyplot_and_torch_stay_out():
    code = (
        "import sys, chiasm.results.figures, chiasm.results.findings, chiasm.results.rundir;"
        "print([m for m in ('matplotlib.pyplot', 'torch', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        (
            captions.flow(made.effects(), made.controls(), 1.5),
            [
                "window of 3 layers",
                "n = 48",
                "95 %",
                "as many random keys (question->last, last->last; n = 48)",
                "±1.5 nat",
            ],
        ),
        (captions.flow(made.effects(), None), ["No control was run"]),
        (captions.flow(made.effects(), made.controls(), panels="type"), ["One panel for each question type"]),
        (captions.flow(made.effects(), made.controls(), panels="cut"), ["each cut", "Grey", "random-weights baseline"]),
        (
            captions.flow(made.effects(), made.controls().filter(pl.col("control") == IMAGE_SWAP)),
            ["Without a control, for want of as many other keys: question->last, image->last, last->last"],
        ),
        (
            captions.flow(made.effects(), made.controls().filter(pl.col("control") == IMAGE_SWAP), panels="cut"),
            ["Level line: another example's image, nothing cut"],
        ),
        (captions.tracking(made.answers(), control=True), ["n = 48", "random-weights baseline", "final norm"]),
        (captions.tracking(made.answers(), as_released=True), ["without the final norm", "No control"]),
        (captions.patches(made.patches()), ["Example q0", "64 patches", "n = 1"]),
        (
            captions.patches(made.patches(), methods=maps("leave-one-out", "keep-one"), rank=(3, 60, 6)),
            ["64 patches", "n = 1", "keep-one +2.3 nat", "Number 3 of 60 maps", "6 at even steps"],
        ),
        (captions.dose(made.effects(), made.controls()), ["100 % is the cut itself", "n = 48"]),
        (captions.windows(windows()), ["n = 6", "holds for all windows at once"]),
        (eval_charts.accuracy_caption(made.evaluation(), blind=True), ["n = 240", "Wilson", "blanked"]),
        (captions.words(made.words()), ["n = 20", "control"]),
    ],
)
def test_captions_tell_n_interval_and_control(caption, parts):
    assert caption.endswith(".")
    for part in parts:
        assert part in caption
