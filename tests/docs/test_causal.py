"""The tables that docs/causal.py prints hold claims, and of each method the one that it says."""

import importlib.util
from pathlib import Path

import polars as pl
import pytest
from tests.support import flow_tables as made

import chiasm

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def causal():
    spec = importlib.util.spec_from_file_location("causal", DOCS / "causal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flow():
    found = chiasm.claims("flow", {"effects": made.effects(), "controls": made.controls()})
    return found.with_columns(kind=pl.col("claim").str.replace(r"-\d+$", ""))


def test_a_row_is_the_deepest_established_claim(causal, flow):
    there = flow.filter(kind="effect", about="question->last", verdict="established")
    assert there.height > 1
    deepest = max(there.iter_rows(named=True), key=lambda one: int(one["where"]))
    [row] = [line for line in causal.table({"flow": flow}) if line.startswith("| knockout question->last ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    interval = f"({deepest['low']:.2f} to {deepest['high']:.2f})"
    assert cells[3] == f"layer {deepest['where']}: {deepest['effect']:.2f} nat {interval}"
    assert cells[4].endswith(f"{deepest['control_effect']:.2f} nat")
    assert cells[5:] == [str(deepest["n"]), "established"]


def test_methods_without_claims_have_no_row(causal, flow):
    lines = causal.table({"flow": flow})
    assert not [line for line in lines if "ablation" in line or "patching" in line or "routes" in line]
    assert causal.differences({"flow": flow}) == ["not measured"] * 3 + ["no pairs"]


def test_the_page_shows_every_method_by_its_name(causal):
    page = (DOCS / "causal.md").read_text()
    assert all(f"| {method.name} | {method.asks} |" in page for method in causal.METHODS)
