import math
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.core.schema import Column, TableSchema
from chiasm.results import tables
from chiasm.studies.flow.tables import ANSWERS, CONTROLS, EFFECTS, dose, dose_share
from chiasm.studies.study import study, verbs

SMALL = TableSchema(
    "small",
    (
        Column("name", "string", "Name", "", "Who."),
        Column("count", "int", "Count", "", "How many."),
        Column("weight", "float", "Weight", "kg", "How heavy.", nullable=True),
        Column("good", "bool", "Good", "", "Whether."),
    ),
)
ROW = {"name": "a", "count": 1, "weight": 0.5, "good": True}

rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.text(st.characters(codec="utf-8"), max_size=5),
            "count": st.integers(-(2**63), 2**63 - 1),
            "weight": st.none() | st.floats(allow_nan=False),
            "good": st.booleans(),
        }
    ),
    max_size=5,
)


@given(parts=st.lists(rows, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("t") / "small.parquet"
    assert tables.write(path, SMALL, parts) == sum(map(len, parts))
    assert tables.read(path).to_dicts() == [row for part in parts for row in part]
    assert tables.read_schema(path) == SMALL
    assert [p.name for p in path.parent.iterdir()] == ["small.parquet"]


def test_metadata_is_plain_parquet(tmp_path: Path):
    tables.write(tmp_path / "t.parquet", SMALL, [[ROW]])
    field = pq.read_schema(tmp_path / "t.parquet").field("weight")
    assert field.metadata == {b"title": b"Weight", b"unit": b"kg", b"description": b"How heavy."}


def test_many_small_parts_share_row_groups(tmp_path: Path):
    part = pl.DataFrame({"name": ["a"] * 1000, "count": range(1000), "weight": [1.0] * 1000, "good": [True] * 1000})
    tables.write(tmp_path / "t.parquet", SMALL, [part] * 200)
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert file.metadata.num_rows == 200_000
    assert file.metadata.num_row_groups == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "one"}, "column `count`: expected int, found String"),
        ({"count": 1.0}, "column `count`: expected int, found Float64"),
        ({"name": None}, "column `name`: 1 of 1 values are missing"),
        ({"weight": math.nan}, "column `weight`: 1 of 1 values are NaN"),
        ({"good": 1}, "column `good`: expected bool"),
        ({"other": 1}, "not in the schema: \\['other'\\]"),
    ],
)
def test_wrong_rows_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        tables.conform(SMALL, [ROW | change])


def test_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"missing: \['good'\]"):
        tables.conform(SMALL, [{k: v for k, v in ROW.items() if k != "good"}])


def test_narrow_types_widen():
    frame = pl.DataFrame({"good": [True], "name": ["a"], "count": [1], "weight": [2]}).cast(
        {"count": pl.Int32, "weight": pl.Int8}
    )
    out = tables.conform(SMALL, frame)
    assert out.schema == {"name": pl.String, "count": pl.Int64, "weight": pl.Float64, "good": pl.Boolean}


def test_a_failed_write_keeps_the_former_file(tmp_path: Path):
    path = tmp_path / "t.parquet"
    tables.write(path, SMALL, [[ROW]])
    with pytest.raises(ValueError):
        tables.write(path, SMALL, [[ROW], [ROW | {"count": "x"}]])
    assert tables.read(path).height == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_errors_for_files_that_are_no_tables(tmp_path: Path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing here PAR1")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(ChiasmError, match="no such file"):
        tables.read(tmp_path / "none.parquet")
    with pytest.raises(ChiasmError, match="not Parquet"):
        tables.read(tmp_path / "bad.parquet")
    with pytest.raises(ChiasmError, match="no description"):
        tables.read_schema(tmp_path / "foreign.parquet")


def test_contract_columns():
    # DESIGN section 4 holds these fixed: other tools read them by name and order.
    assert EFFECTS.names == (
        *("example_id", "type", "cut", "layer", "start", "stop", "target_token_id", "logprob_clean", "logprob_cut"),
        *("prob_clean", "prob_cut", "change_percent", "top_token_id", "flipped"),
    )
    assert ANSWERS.names == ("example_id", "type", "layer", "form", "token_id", "prob", "prob_raw")
    assert CONTROLS.names == (*EFFECTS.names, "control", "sample")


@pytest.mark.parametrize("verb", verbs())
def test_every_column_explains_itself(verb):
    schemas = study(verb).tables
    assert len({schema.name for schema in schemas}) == len(schemas) > 1
    assert all(c.title and c.description.endswith(".") for schema in schemas for c in schema.columns)


@given(st.floats(0, 1))
def test_dose_names(share):
    assert dose_share(dose(share)) == pytest.approx(share, rel=1e-5)
    assert dose_share("twin") is None


def test_a_column_named_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        SMALL.plus("more", SMALL.column("name"))
