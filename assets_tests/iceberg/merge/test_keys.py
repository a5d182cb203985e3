"""A file that holds a key is never passed over, whatever its partition and bounds; others are, where these tell."""

from __future__ import annotations

import string
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestFile,
    construct_partition_summaries,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadataV2, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.transforms import parse_transform
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField

from lakehouse.iceberg.merge import keys as keys_module
from lakehouse.iceberg.merge.keys import KeyBounds
from lakehouse.iceberg.parquet.partition import transformed
from lakehouse.iceberg.schemas.schema import arrow_of, iceberg_type
from lakehouse.tables.types import duckdb_type

_TEXT = string.ascii_lowercase[:3] + "é\U0001f600"
_TIMES = st.datetimes(datetime(1969, 12, 30), datetime(1970, 1, 3))  # noqa: DTZ001  (with and without a zone)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-30, 30),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-30, 30),
    "string": st.text(_TEXT, max_size=5),
    "date": st.dates(date(1969, 11, 1), date(1970, 3, 1)),
    "time": st.times(),
    "timestamp": _TIMES,
    "timestamptz": _TIMES.map(lambda moment: moment.replace(tzinfo=UTC)),
    "decimal(9, 2)": st.integers(-300, 300).map(lambda cents: Decimal(cents).scaleb(-2)),
    "uuid": st.integers(0, 15).map(lambda number: uuid.UUID(int=number << 124 | number)),
    "fixed[2]": st.binary(min_size=2, max_size=2),
    "binary": st.binary(max_size=3),
    "boolean": st.booleans(),
}
TRANSFORMS = {
    "int": ["bucket[3]", "truncate[7]"],
    "long": ["bucket[3]", "truncate[7]"],
    "string": ["bucket[3]", "truncate[2]"],
    "date": ["bucket[3]", "day", "month", "year"],
    "time": ["bucket[3]"],
    "timestamp": ["bucket[3]", "hour", "day", "month", "year"],
    "timestamptz": ["bucket[3]", "hour", "day", "month", "year"],
    "decimal(9, 2)": ["bucket[3]", "truncate[50]"],
    "uuid": ["bucket[3]"],
    "fixed[2]": ["bucket[3]"],
    "binary": ["bucket[3]", "truncate[1]"],
    "boolean": [],
}
Key = tuple[Any, ...]


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def schema_of(*kinds: str) -> Schema:
    return Schema(*(NestedField(of, f"key_{of}", iceberg_type(kind)) for of, kind in enumerate(kinds, start=1)))


def bounds_of(cursor: duckdb.DuckDBPyConnection, schema: Schema, keys: Sequence[Key]) -> KeyBounds:
    arrow = arrow_of(schema, field_ids=False)
    columns = [pa.array([key[of] for key in keys], arrow.field(of).type) for of in range(len(arrow))]
    given_keys = pa.table(columns, names=[f"k{of}" for of in range(len(columns))])
    typed = ", ".join(f"k{of}::{duckdb_type(str(field.field_type))} AS k{of}" for of, field in enumerate(schema.fields))
    cursor.register("given_keys", given_keys)
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE keys AS SELECT {typed} FROM given_keys")
    return KeyBounds.of(cursor, "keys", schema.fields)


def metadata_of(schema: Schema, spec: PartitionSpec) -> TableMetadataV2:
    made = new_table_metadata(schema, spec, UNSORTED_SORT_ORDER, "file:///none")
    assert isinstance(made, TableMetadataV2)
    return made


def plain(schema: Schema, number: int, value: object) -> Any:  # noqa: ANN401  (as Iceberg holds it)
    """A value as bounds and partitions hold it."""
    array = pa.array([value], arrow_of(schema, field_ids=False).field(number).type)
    if pa.types.is_temporal(array.type):
        return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())[0].as_py()
    return value


def partition_of(schema: Schema, spec: PartitionSpec, key: Key) -> Record:
    arrow = arrow_of(schema, field_ids=False)
    found = []
    for field in spec.fields:
        number = field.source_id - 1
        array = pa.array([key[number]], arrow.field(number).type)
        result = transformed(field.transform, schema.fields[number].field_type, array)[0].as_py()
        found.append(result if isinstance(result, int | str) else plain(schema, number, result))
    return Record(*found)


def file_of(  # noqa: PLR0913  (each is a part of what a manifest says)
    schema: Schema,
    spec: PartitionSpec,
    keys: Sequence[Key],
    *,
    lower: bool = True,
    upper: bool = True,
    cut: int | None = None,
    **told: object,
) -> DataFile:
    """A file of these keys, as a manifest describes it; texts and binaries are cut as writers do. `told` replaces."""
    lows: dict[int, bytes] = {}
    highs: dict[int, bytes] = {}
    for number, field in enumerate(schema.fields):
        values = [plain(schema, number, key[number]) for key in keys]
        low, high = min(values), max(values)
        if cut is not None and isinstance(low, str):
            low, high = low[:cut], high if len(high) <= cut else high[: cut - 1] + chr(ord(high[cut - 1]) + 1)
        elif cut is not None and isinstance(low, bytes) and str(field.field_type) == "binary":
            low, high = low[:cut], high if len(high) <= cut else b"\xff" * 4
        if lower:
            lows[field.field_id] = to_bytes(field.field_type, low)
        if upper:
            highs[field.field_id] = to_bytes(field.field_type, high)
    arguments = {
        "content": DataFileContent.DATA,
        "file_path": "file:///none/x.parquet",
        "file_format": FileFormat.PARQUET,
        "partition": partition_of(schema, spec, keys[0]),
        "record_count": len(keys),
        "file_size_in_bytes": 1,
        "lower_bounds": lows,
        "upper_bounds": highs,
        **told,
    }
    made = DataFile.from_args(**arguments)
    made.spec_id = spec.spec_id
    return made


def manifest_of(schema: Schema, spec: PartitionSpec, files: Sequence[DataFile]) -> ManifestFile:
    summaries = construct_partition_summaries(spec, schema, [file.partition for file in files])
    return ManifestFile.from_args(
        manifest_path="file:///none/m.avro",
        manifest_length=1,
        partition_spec_id=spec.spec_id,
        content=ManifestContent.DATA,
        partitions=summaries,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Schema, PartitionSpec, list[Key], list[list[Key]]]:
    """A key of one or two columns, a partitioning by one of them, our keys, and those of some files."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=2))
    schema = schema_of(*kinds)
    number = draw(st.integers(0, len(kinds) - 1))
    transform = draw(st.sampled_from([None, "identity", *TRANSFORMS[kinds[number]]]))
    spec = PartitionSpec(
        *([PartitionField(number + 1, 1000, parse_transform(transform), "part")] if transform else []), spec_id=0
    )
    one = st.tuples(*(VALUES[kind] for kind in kinds))
    ours = draw(st.lists(one, max_size=6))
    theirs = draw(st.lists(st.lists(one | st.sampled_from(ours) if ours else one, min_size=1, max_size=4), max_size=4))
    parted = [
        [key for key in file if partition_of(schema, spec, key) == partition_of(schema, spec, file[0])]
        for file in theirs
    ]
    return schema, spec, ours, parted


@given(
    case=cases(),
    known=st.tuples(st.booleans(), st.booleans()),
    cut=st.none() | st.just(2),
    most=st.sampled_from([1, 2**16]),
)
def test_no_file_with_a_key_is_passed_over(
    cursor: duckdb.DuckDBPyConnection,
    case: tuple[Schema, PartitionSpec, list[Key], list[list[Key]]],
    known: tuple[bool, bool],
    cut: int | None,
    most: int,
) -> None:
    """`known`: which bounds the file has; `most`: how many spans may be kept."""
    schema, spec, ours, theirs = case
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys_module, "_MOST_SPANS", most)
        bounds = bounds_of(cursor, schema, ours)
    assert bounds.repeated == (len(set(ours)) < len(ours))
    parted = bounds.on(metadata_of(schema, spec))
    files = [file_of(schema, spec, keys, lower=known[0], upper=known[1], cut=cut) for keys in theirs]
    holding = [file for file, keys in zip(files, theirs, strict=True) if set(keys) & set(ours)]
    for chosen in (bounds, parted):
        assert all(chosen.file_may(file) for file in holding)
        assert not holding or chosen.manifest_may(manifest_of(schema, spec, files))
        assert ours or not any(chosen.file_may(file) for file in files)


@given(case=cases(), number=st.integers(0, 1))
def test_a_file_is_passed_over_where_no_key_lies_between_its_bounds(
    cursor: duckdb.DuckDBPyConnection, case: tuple[Schema, PartitionSpec, list[Key], list[list[Key]]], number: int
) -> None:
    schema, _, ours, theirs = case
    number = min(number, len(schema.fields) - 1)
    if str(schema.fields[number].field_type) == "uuid":
        return
    spec = PartitionSpec(spec_id=0)
    bounds = bounds_of(cursor, schema, ours)
    mine = [plain(schema, number, key[number]) for key in ours]
    for keys in theirs:
        values = [plain(schema, number, key[number]) for key in keys]
        if not any(min(values) <= value <= max(values) for value in mine):
            assert not bounds.file_may(file_of(schema, spec, keys))


def spec_by(transform: str, spec_id: int = 0) -> PartitionSpec:
    return PartitionSpec(PartitionField(1, 1000, parse_transform(transform), "part"), spec_id=spec_id)


@pytest.mark.parametrize(
    ("kind", "transform", "ours", "theirs"),
    [
        ("long", "bucket[64]", 1, 2),
        ("string", "identity", "a", "b"),
        ("string", "truncate[2]", "abc", "xbc"),
        ("date", "day", date(2026, 1, 1), date(2026, 1, 2)),
        ("timestamp", "hour", datetime(2026, 1, 1), datetime(2026, 1, 1, 1)),  # noqa: DTZ001
        ("timestamptz", "month", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("uuid", "identity", uuid.UUID(int=1), uuid.UUID(int=2)),
        ("time", "identity", time(1), time(2)),
    ],
)
def test_partitions_tell(
    cursor: duckdb.DuckDBPyConnection, kind: str, transform: str, ours: object, theirs: object
) -> None:
    """A file without bounds, and its manifest, are passed over for its partition alone."""
    schema, spec = schema_of(kind), spec_by(transform)
    bounds = bounds_of(cursor, schema, [(ours,)])
    file = file_of(schema, spec, [(theirs,)], lower=False, upper=False)
    manifest = manifest_of(schema, spec, [file])
    known = bounds.on(metadata_of(schema, spec))
    assert (known.file_may(file), known.manifest_may(manifest)) == (False, False)
    # Of a partitioning that is not known nothing is told.
    assert (bounds.file_may(file), bounds.manifest_may(manifest)) == (True, True)
    # A key is never NULL.
    assert not known.file_may(file_of(schema, spec, [(ours,)], partition=Record(None)))


def test_a_column_of_nothing_but_null_holds_no_key(cursor: duckdb.DuckDBPyConnection) -> None:
    schema, spec = schema_of("long"), PartitionSpec(spec_id=0)
    bounds = bounds_of(cursor, schema, [(1,)])
    file = {"schema": schema, "spec": spec, "keys": [(1,)], "lower": False, "upper": False}
    assert bounds.file_may(file_of(**file))
    assert bounds.file_may(file_of(**file, value_counts={1: 2}, null_value_counts={1: 1}))
    assert not bounds.file_may(file_of(**file, value_counts={1: 2}, null_value_counts={1: 2}))


def test_a_promoted_column_keeps_its_old_bounds(cursor: duckdb.DuckDBPyConnection) -> None:
    """The bounds of an int have 4 bytes also when the column is a long since."""
    bounds = bounds_of(cursor, schema_of("long"), [(5,)])
    old = schema_of("int")
    assert bounds.file_may(file_of(old, PartitionSpec(spec_id=0), [(4,), (6,)]))
    assert not bounds.file_may(file_of(old, PartitionSpec(spec_id=0), [(6,), (7,)]))


def test_a_text_cut_within_a_letter_tells_nothing(cursor: duckdb.DuckDBPyConnection) -> None:
    bounds = bounds_of(cursor, schema_of("string"), [("z",)])
    spec = PartitionSpec(spec_id=0)
    assert not bounds.file_may(file_of(schema_of("string"), spec, [("a",)]))
    assert bounds.file_may(file_of(schema_of("string"), spec, [("a",)], upper_bounds={1: "é".encode()[:1]}))


def test_times_before_1970_that_were_rounded_up_are_found(cursor: duckdb.DuckDBPyConnection) -> None:
    """As older versions of Iceberg's Java library partitioned them."""
    schema, spec = schema_of("timestamp"), spec_by("day")
    moment = datetime(1969, 12, 30, 12)  # noqa: DTZ001
    bounds = bounds_of(cursor, schema, [(moment,)]).on(metadata_of(schema, spec))
    found = {day: bounds.file_may(file_of(schema, spec, [(moment,)], partition=Record(day))) for day in (-3, -2, -1, 0)}
    assert partition_of(schema, spec, (moment,)) == Record(-2)
    assert found == {-3: False, -2: True, -1: True, 0: False}
