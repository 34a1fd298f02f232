"""Tables in float64 are those of one process to the last bit, however many share the work."""

import polars as pl
import pytest

import chiasm

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize(("verb", "options"), [("flow", {"limit": 24}), ("align", {"limit": 64})])
def test_tables_are_equal_bit_by_bit(tmp_path, verb, options):
    found = {}
    for workers in (1, 2, 3):
        out = tmp_path / f"{verb}-{workers}"
        run = getattr(chiasm, verb)("tiny", dtype="float64", batch_size=2, workers=workers, out=out, **options)
        found[workers] = {name: run.table(name) for name in run.tables}
    assert found[1]
    for workers in (2, 3):
        assert found[workers].keys() == found[1].keys()
        for name, rows in found[1].items():
            numbers = [column for column, kind in rows.schema.items() if kind.is_float()]
            bits = [pl.col(column).reinterpret(signed=True) for column in numbers]
            assert found[workers][name].equals(rows), (workers, name)
            assert found[workers][name].select(bits).equals(rows.select(bits)), (workers, name)
