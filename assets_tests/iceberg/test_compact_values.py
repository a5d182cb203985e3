"""Values of every type come through compaction bit by bit, whoever encodes them, and other engines read them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Lake, LakeTable, arrow_schema
from lakehouse.settings import Settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, Table, TableName

NAME = TableName(Layer.SILVER, "kinds")
FLOATS = (Column("c_float", "float"), Column("c_double", "double"))
FIXED = Column("c_fixed", "fixed[4]")
COLUMNS = (
    Column("c_int", "int", required=True),
    Column("c_long", "long"),
    Column("c_bool", "boolean"),
    Column("c_decimal_4", "decimal(4, 2)"),
    Column("c_decimal_9", "decimal(9, 0)"),
    Column("c_decimal_18", "decimal(18, 6)"),
    Column("c_decimal_38", "decimal(38, 10)"),
    Column("c_date", "date"),
    Column("c_time", "time"),
    Column("c_ts", "timestamp"),
    Column("c_tz", "timestamptz"),
    Column("c_string", "string"),
    Column("c_uuid", "uuid"),
    Column("c_binary", "binary"),
    *FLOATS,
)
NULLS = {column.name: None for column in COLUMNS}
VALUES: list[dict[str, Any]] = [
    {
        **NULLS,
        "c_int": -(2**31),
        "c_long": 2**63 - 1,
        "c_bool": False,
        "c_decimal_4": Decimal("-99.99"),
        "c_decimal_9": Decimal(999_999_999),
        "c_decimal_18": Decimal("-999999999999.999999"),
        "c_decimal_38": Decimal("9999999999999999999999999999.9999999999"),
        "c_date": date(1, 1, 1),
        "c_time": time(23, 59, 59, 999_999),
        "c_ts": datetime(9999, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001  (the type has no zone)
        "c_tz": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "c_string": "",
        "c_uuid": UUID("00000000-0000-0000-0000-000000000001").bytes,
        "c_binary": b"",
        "c_float": math.inf,
        "c_double": -1e-310,
    },
    {**NULLS, "c_int": 0},
    {
        **NULLS,
        "c_int": 2**31 - 1,
        "c_long": -(2**63),
        "c_bool": True,
        "c_date": date(9999, 12, 31),
        "c_time": time(0),
        "c_ts": datetime(1, 1, 1),  # noqa: DTZ001  (the type has no zone)
        "c_tz": datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        "c_string": "é\u0000😀\n" + "x" * 500,
        "c_uuid": UUID("ffffffff-ffff-ffff-ffff-ffffffffffff").bytes,
        "c_binary": bytes(range(256)),
        "c_float": math.nan,
        "c_double": math.nan,
    },
]


def declared(*more: Column, **changes: Any) -> Table:  # noqa: ANN401  (those of Table)
    made = Table(NAME, "shop", "every kind", (*COLUMNS, *more), Path("kinds.yaml"))
    return replace(made, **changes)


@pytest.fixture
def stock(settings: Settings) -> Iterator[Callable[[], IcebergTable]]:
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda: catalog.load_table(NAME.key)
    catalog.engine.dispose()


def filled(lake: Lake, table: Table, rows: list[dict[str, Any]]) -> LakeTable:
    """A file for each row."""
    made = lake.create(table)
    schema = arrow_schema(table.columns)
    for number, row in enumerate(rows):
        made.append(
            pa.Table.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema), run_key=f"{number}"
        )
    return made


def bits(rows: pa.Table) -> list[tuple[object, ...]]:
    """Rows so that equal means the same, NaN and -0.0 too."""

    def exact(value: object) -> object:
        if isinstance(value, UUID):
            return str(value)
        return struct.pack(">d", value) if isinstance(value, float) else value

    return sorted((tuple(map(exact, row.values())) for row in rows.to_pylist()), key=repr)


def compact(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> str:
    """Pack all files into one; who encoded it."""
    done = table.compact([[file.path for file in table.live_files()]], connection=duck)
    assert (done.groups, done.files_after) == (1, 1)
    return str(pq.read_metadata(local_path(table.live_files()[0].path)).created_by).split(" ")[0]


SORTED = {"sort_by": ("c_int",)}


@pytest.mark.parametrize(
    ("table", "encoder"),
    [
        pytest.param(declared(), "DuckDB", id="flat"),
        pytest.param(declared(**SORTED), "parquet-cpp-arrow", id="sorted"),
        pytest.param(declared(FIXED), "parquet-cpp-arrow", id="fixed binary"),
        pytest.param(declared(Column("who", "string", personal=True)), "parquet-cpp-arrow", id="personal"),
        pytest.param(declared(Column("C_INT", "string")), "parquet-cpp-arrow", id="names that differ in case"),
    ],
)
def test_every_value_is_what_it_was(
    lake: Lake, table: Table, encoder: str, duck: duckdb.DuckDBPyConnection, stock: Callable[[], IcebergTable]
) -> None:
    more = {column.name: b"\x00abc" if column == FIXED else "a" for column in table.columns[len(COLUMNS) :]}
    made = filled(lake, table, [{**row, **more} for row in VALUES])
    before = bits(made.scan().read_all())
    assert compact(made, duck) == encoder
    assert bits(made.scan().read_all()) == before
    assert bits(stock().scan().to_arrow()) == before
    if "C_INT" not in {column.name for column in table.columns}:
        assert bits(duck.sql(f"FROM {made.relation_sql()}").to_arrow_table()) == before


def test_files_have_the_physical_types_of_the_iceberg_spec(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """Spec, "Parquet": decimals up to 9 digits int32, up to 18 int64; uuid 16 bytes; times without a zone."""
    made = filled(lake, declared(), VALUES)
    compact(made, duck)
    schema = pq.ParquetFile(local_path(made.live_files()[0].path)).schema
    found = {schema.column(number).name: schema.column(number) for number in range(len(schema.names))}
    expected = {
        "c_int": "INT32",
        "c_decimal_4": "INT32",
        "c_decimal_9": "INT32",
        "c_decimal_18": "INT64",
        "c_decimal_38": "FIXED_LEN_BYTE_ARRAY",
        "c_uuid": "FIXED_LEN_BYTE_ARRAY",
        "c_date": "INT32",
        "c_time": "INT64",
        "c_ts": "INT64",
        "c_tz": "INT64",
        "c_string": "BYTE_ARRAY",
    }
    assert {name: found[name].physical_type for name in expected} == expected
    logical = {name: str(found[name].logical_type) for name in ("c_ts", "c_tz", "c_time", "c_uuid", "c_string")}
    assert "isAdjustedToUTC=false, timeUnit=microseconds" in logical["c_ts"]
    assert "isAdjustedToUTC=true, timeUnit=microseconds" in logical["c_tz"]
    assert "isAdjustedToUTC=false, timeUnit=microseconds" in logical["c_time"]
    assert (logical["c_uuid"], logical["c_string"]) == ("UUID", "String")
    ids = pq.read_schema(local_path(made.live_files()[0].path))
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in ids] == list(range(1, len(COLUMNS) + 1))


def test_metadata_tells_of_a_packed_file_what_it_told_of_the_files(
    lake: Lake, duck: duckdb.DuckDBPyConnection, stock: Callable[[], IcebergTable]
) -> None:
    """Bounds and counts: what rules files out must not be lost, and must not be wrong for NaN."""
    without = [column for column in COLUMNS if column.type != "uuid"]  # PyIceberg's own tool cannot show it
    made = filled(lake, replace(declared(), columns=tuple(without)), VALUES)
    compact(made, duck)
    (told,) = stock().inspect.data_files().to_pylist()
    columns = told["readable_metrics"]
    assert told["record_count"] == 3
    assert (columns["c_int"]["lower_bound"], columns["c_int"]["upper_bound"]) == (-(2**31), 2**31 - 1)
    assert (columns["c_decimal_4"]["lower_bound"], columns["c_decimal_4"]["null_value_count"]) == (Decimal("-99.99"), 2)
    assert (columns["c_date"]["lower_bound"], columns["c_date"]["upper_bound"]) == (date(1, 1, 1), date(9999, 12, 31))
    assert columns["c_string"]["upper_bound"].startswith("é")
    # A NaN is in no bound, so nothing may be said.
    assert columns["c_double"]["upper_bound"] is None
    for row in VALUES:
        found = made.scan(where=f"c_int = {row['c_int']}").read_all().to_pylist()
        assert len(found) == 1
    assert len(made.scan(where="c_float > 5").read_all()) == 1


@pytest.mark.parametrize("kind", ["float", "double"])
def test_zeros_keep_their_signs(lake: Lake, duck: duckdb.DuckDBPyConnection, kind: str) -> None:
    """DuckDB's dictionary takes -0.0 for 0.0, and would write whichever came first: our own encoder has to."""
    table = replace(declared(), columns=(Column("x", kind),))
    made = lake.create(table)
    for number in range(2):
        made.append(pa.table({"x": [0.0, -0.0, 1.0] * 2000}, schema=arrow_schema(table.columns)), run_key=f"{number}")
    before = bits(made.scan().read_all())
    assert compact(made, duck) == "parquet-cpp-arrow"
    assert bits(made.scan().read_all()) == before


def test_personal_values_are_in_no_footer(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """What the metadata must not show, a file's footer must not show."""
    table = replace(declared(), columns=(Column("n", "int"), Column("who", "string", personal=True)))
    made = filled(lake, table, [{"n": number, "who": f"person {number}"} for number in range(4)])
    assert compact(made, duck) == "parquet-cpp-arrow"
    footer = pq.read_metadata(local_path(made.live_files()[0].path))
    n, who = (footer.row_group(0).column(number) for number in (0, 1))
    assert n.statistics.has_min_max
    assert who.statistics is None


_ROW = st.fixed_dictionaries(
    {
        "c_long": st.none() | st.integers(-(2**63), 2**63 - 1),
        "c_double": st.none() | st.floats(width=64),
        "c_string": st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
        "c_binary": st.none() | st.binary(max_size=20),
        "c_decimal": st.none() | st.decimals(-(10**10), 10**10, places=3),
        "c_tz": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001  (bounds of strategies are naive)
    }
)


@given(files=st.lists(st.lists(_ROW, min_size=1, max_size=5), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
def test_any_rows_in_any_files(lake: Lake, duck: duckdb.DuckDBPyConnection, files: list[list[dict[str, Any]]]) -> None:
    kinds = ("long", "double", "string", "binary", "decimal(14, 3)", "timestamptz")
    names = ("c_long", "c_double", "c_string", "c_binary", "c_decimal", "c_tz")
    columns = tuple(Column(name, kind) for name, kind in zip(names, kinds, strict=True))
    if lake.exists(NAME):
        lake.drop(NAME)
    made = lake.create(replace(declared(), columns=columns))
    for number, rows in enumerate(files):
        made.append(pa.Table.from_pylist(rows, schema=arrow_schema(columns)), run_key=f"{number}")
    before = bits(made.scan().read_all())
    compact(made, duck)
    assert bits(made.scan().read_all()) == before
