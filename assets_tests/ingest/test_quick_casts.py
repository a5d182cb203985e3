"""Arrow's casts of plain texts: to the values that the door's SQL makes of them, and of nothing else."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.iceberg import arrow_schema
from lakehouse.ingest.casts import exact_cast
from lakehouse.ingest.quick_casts import quick_cast
from lakehouse.tables import Column

WANTED = ["int", "long", "double", "decimal(15, 2)", "decimal(38, 0)", "date", "timestamp", "timestamptz"]
PLAIN = {
    "int": ["0", "-7", "2147483647", "007", None],
    "long": ["0", "-9223372036854775808", None],
    "double": ["1", "-0", "1.", ".5", "1e5", "-2.5E-3", None],
    "decimal(15, 2)": ["17", "-0.5", "1.500", "9999999999999.99", None],
    "decimal(38, 0)": ["1" * 38, None],
    "date": ["2026-02-28", "0001-01-01", "9999-12-31", None],
    "timestamp": ["2026-01-02T03:04:05", "2026-01-02 03:04:05.123456", None],
    "timestamptz": ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05.5-03:30", "2026-01-02 03:04:05+00", None],
}
NOT_PLAIN = {
    "int": ["2147483648", "1.0", "+1", " 1", "", "-", "1_000", "0x1F", "1e3"],
    "long": ["9223372036854775808", "0x1F"],
    "double": ["inf", "nan", "1e999", "0x1p3", "1e", "."],
    "decimal(15, 2)": ["12.345", "1e3", "1" * 14, ".", ""],
    "decimal(38, 0)": ["1" * 39, "0.5"],
    "date": ["0000-01-01", "2026-02-30", "2026-1-1", "2026-01-01T00:00:00", "26-01-01"],
    "timestamp": ["2026-01-02", "2026-01-02T03:04", "2026-01-02T03:04:05Z", "2026-01-02T03:04:60"],
    "timestamptz": ["2026-01-02 03:04+00", "2026-01-02 03+00", "2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05"],
}
LIKE_NUMBERS = st.text("0123456789+-.eE x_", max_size=12) | st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{0,5})?\Z")
LIKE_MOMENTS = st.from_regex(
    r"\A(0000|0001|2026|9999)-[01][0-9]-[0-3][0-9]([T ][0-2][0-9](:[0-5][0-9](:[0-6][0-9](\.[0-9]{0,9})?)?)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?\Z"
)


def quickly(texts: list[str | None], wanted: str) -> list[object] | None:
    [field] = arrow_schema((Column("c", wanted),))
    values = quick_cast(pa.chunked_array([texts[:1], texts[1:]], pa.string()), field.type)
    assert values is None or values.type == field.type
    return None if values is None else values.to_pylist()


def by_sql(texts: list[str | None], wanted: str) -> list[object]:
    cast = exact_cast("t", "VARCHAR", wanted, same=False).value
    [field] = arrow_schema((Column("c", wanted),))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("raw", pa.table({"t": pa.array(texts, pa.string())}))
        made: pa.Table = connection.execute(f"SELECT {cast} AS c FROM raw").to_arrow_table()
    return list(made.column("c").cast(field.type).to_pylist())


@pytest.mark.parametrize("wanted", WANTED)
def test_plain_texts_go_the_quick_way(wanted: str) -> None:
    values = quickly(PLAIN[wanted], wanted)
    assert values is not None
    assert repr(values) == repr(by_sql(PLAIN[wanted], wanted))


@pytest.mark.parametrize(("wanted", "text"), [(wanted, text) for wanted in WANTED for text in NOT_PLAIN[wanted]])
def test_one_that_is_not_plain_sends_all_of_them_to_the_door_s_sql(wanted: str, text: str) -> None:
    assert quickly([*PLAIN[wanted], text], wanted) is None


@pytest.mark.parametrize("wanted", ["string", "boolean", "float", "time", "uuid", "binary", "fixed[3]"])
def test_other_types_have_no_quick_way(wanted: str) -> None:
    assert quickly(["1"], wanted) is None


def test_values_that_are_typed_already_are_left_alone() -> None:
    assert quick_cast(pa.chunked_array([pa.array([1, 2])]), pa.int64()) is None


@given(wanted=st.sampled_from(WANTED), texts=st.lists(st.none() | LIKE_NUMBERS | LIKE_MOMENTS, max_size=3))
@example(wanted="timestamptz", texts=["9999-12-31 23:59:59-05"])
@example(wanted="timestamp", texts=["2026-01-01T24:00:00"])
@example(wanted="double", texts=["-0"])
def test_what_goes_the_quick_way_is_what_sql_makes_of_it(wanted: str, texts: list[str | None]) -> None:
    values = quickly(texts, wanted)
    if values is not None:
        assert repr(values) == repr(by_sql(texts, wanted))


def test_a_part_of_a_longer_column_is_looked_at_by_itself() -> None:
    texts = pa.array(["x", "1", None, "22", "y"]).slice(1, 3)
    values = quick_cast(pa.chunked_array([texts]), pa.int64())
    assert values is not None
    assert values.to_pylist() == [1, None, 22]
