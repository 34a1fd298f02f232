"""Figures as pure functions of tables, in matplotlib's object interface: nothing is kept between calls."""

from chiasm.results.figures.bars import eval_bars
from chiasm.results.figures.flow import dose_curve, flow_by_type, flow_controls, flow_curves
from chiasm.results.figures.maps import flow_heatmap, patch_map
from chiasm.results.figures.saving import save
from chiasm.results.figures.tracking import answer_tracking, caption_words
