"""The door: a contract's types and row rules split each chunk into rows for bronze and records for the quarantine.

Every row goes one way or the other, and an accepted value is the source's value, exactly. How single values are cast is
`casts.py`; what becomes of the two parts is `load.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import ContractError
from lakehouse.iceberg import arrow_schema
from lakehouse.ingest.checks import RAW, Check, Plan, make_plan
from lakehouse.ingest.drift import SCHEMA_DRIFT, SourceDrift, unnamed
from lakehouse.ingest.quarantine import Record
from lakehouse.ingest.quick_casts import quick_cast
from lakehouse.ingest.records import broken, records_table, unparsed
from lakehouse.sources import Chunk
from lakehouse.tables import DELETED, EXTRA, Table
from lakehouse.tables.sql import quote


@dataclass(frozen=True)
class Split:
    """The two parts of a chunk: rows in the schema of `table.stored_columns`, records in that of quarantine tables."""

    accepted: pa.Table
    rejected: pa.Table


def split(table: Table, chunk: Chunk, extracted_at: datetime, run_key: str) -> Split:
    """Split one chunk; for many, keep a `Door` open."""
    with Door(table) as door:
        return door.split(chunk, extracted_at, run_key)


class Door:
    """The door of one table. Rows are good where every value has the contract's type and every error rule holds.

    What they have beyond the contract is kept in `_extra`, and noted in `drift`, which may want them rejected for it.
    """

    def __init__(self, table: Table, drift: SourceDrift | None = None) -> None:
        self._table = table
        self.drift = drift or SourceDrift(table)
        self._schema: pa.Schema = arrow_schema(table.stored_columns)
        self._plans: dict[pa.Schema, Plan] = {}
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close its DuckDB."""
        self._connection.close()

    def split(self, chunk: Chunk, extracted_at: datetime, run_key: str) -> Split:
        """Split one chunk. Raises ContractError for a rule that DuckDB cannot evaluate, and what `drift.note` does."""
        chunk = _with_nanoseconds(chunk)
        if not chunk.rows.num_rows:
            return Split(self._schema.empty_table(), self._rejected(unparsed(chunk), extracted_at, run_key))
        raw = self._cast_quickly(chunk.rows)
        plan = self._plan(raw)
        self.drift.note([*plan.unnamed, *self._extra_names(chunk)])
        if self.drift.holds_rows:
            plan = replace(plan, checks=(*plan.checks, Check(SCHEMA_DRIFT, "true", self.drift.told, None)))
        try:
            self._connection.register("raw", raw)
            good, values = self._evaluate(plan)
        except duckdb.Error as error:
            raise self._refused(error) from error
        finally:
            self._connection.unregister("raw")
        accepted = self._accepted(replace(chunk, rows=raw), values, extracted_at, run_key)
        if good is None:
            passed = pa.table(accepted.columns, schema=self._schema)
            return Split(passed, self._rejected(unparsed(chunk), extracted_at, run_key))
        bad = pc.invert(good)
        typed = _typed(plan, raw.filter(bad), {name: column.filter(bad) for name, column in values.items()})
        records = [*unparsed(chunk), *broken(self._connection, chunk, bad, typed, plan)]
        passed = pa.table(accepted.filter(good).columns, schema=self._schema)
        return Split(passed, self._rejected(records, extracted_at, run_key))

    def _cast_quickly(self, raw: pa.Table) -> pa.Table:
        """With the types of the contract where all of a column's texts are plainly values of them."""
        for place, name in enumerate(raw.column_names):
            at = self._schema.get_field_index(name)
            values = None if at < 0 else quick_cast(raw.column(place), self._schema.field(at).type)
            if values is not None:
                raw = raw.set_column(place, name, values)
        return raw

    def _plan(self, raw: pa.Table) -> Plan:
        if (known := self._plans.get(raw.schema)) is None:
            self._connection.register("raw", raw)
            described = self._connection.execute("DESCRIBE FROM raw").fetchall()
            self._connection.unregister("raw")
            given = {str(row[0]): str(row[1]) for row in described}
            fields = {field.name: field.type for field in self._schema}
            same = {field.name for field in raw.schema if field.type == fields.get(field.name)}
            known = self._plans[raw.schema] = make_plan(self._table, given, same)
        return known

    def _evaluate(self, plan: Plan) -> tuple[pa.ChunkedArray | None, Mapping[str, pa.ChunkedArray]]:
        """Which rows are good (None: all), and the columns that had to be cast."""
        broken = " OR ".join(f"({check.broken})" for check in plan.checks)
        outputs = [quote(name) for name in plan.cast] + ([f"NOT ({broken})"] if broken else [])
        if not outputs:
            return None, {}
        # DuckDB keeps the order of a scan's rows (preserve_insertion_order, on by default).
        result = self._connection.execute(f"SELECT {', '.join(outputs)} FROM {plan.relation}").to_arrow_table()
        values = {name: result.column(place) for place, name in enumerate(plan.cast)}
        good = result.column(len(plan.cast)) if broken else None
        return (None if good is None or pc.all(good).as_py() else good), values

    def _accepted(
        self, chunk: Chunk, values: Mapping[str, pa.ChunkedArray], extracted_at: datetime, run_key: str
    ) -> pa.Table:
        rows = chunk.rows.num_rows
        columns = {name: chunk.rows.column(name) for name in chunk.rows.column_names} | dict(values)
        columns["_extracted_at"] = pa.scalar(extracted_at, pa.timestamp("us", tz="UTC"))
        columns["_source"] = pa.scalar(chunk.source) if isinstance(chunk.source, str) else chunk.source
        columns["_run_key"] = pa.scalar(run_key)
        columns.setdefault("_source_version", pa.scalar(None, pa.string()))
        columns.setdefault(DELETED.name, pa.scalar(value=False))
        columns[EXTRA] = _joined(chunk.extra, values.get(EXTRA))
        arrays = [_column(columns[field.name], field.type, rows) for field in self._schema]
        # Bad rows are still among the good ones, so nothing is required yet.
        return pa.table(arrays, schema=pa.schema([field.with_nullable(nullable=True) for field in self._schema]))

    def _extra_names(self, chunk: Chunk) -> Iterable[str]:
        """What the source itself has put into `extra`."""
        if chunk.extra is None or chunk.extra.null_count == len(chunk.extra):
            return ()
        self._connection.register("more", pa.table({"extra": chunk.extra}))
        found = self._connection.execute("SELECT DISTINCT unnest(json_keys(extra)) FROM more ORDER BY 1").fetchall()
        self._connection.unregister("more")
        return unnamed(self._table, [str(name) for (name,) in found])

    def _rejected(self, records: Iterable[Record], extracted_at: datetime, run_key: str) -> pa.Table:
        return records_table(self._table, records, extracted_at, run_key)

    def _refused(self, error: duckdb.Error) -> ContractError:
        rules = ", ".join(rule.name for rule in self._table.rules) or "none"
        return ContractError(
            f"{self._table.file}: the rules of {self._table.name} cannot be evaluated",
            expected=f"predicates over its columns (rules: {rules})",
            found=str(error).splitlines()[0],
            remedy="Mend the rule; it must not fail on any value, so cast with TRY_CAST.",
        )


def _with_nanoseconds(chunk: Chunk) -> Chunk:
    """DuckDB cuts zoned nanoseconds to microseconds as it scans them; without their zone it sees them whole."""
    rows = chunk.rows
    for place, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns" and field.type.tz is not None:
            rows = rows.set_column(place, field.name, rows.column(place).cast(pa.timestamp("ns")))
    return chunk if rows is chunk.rows else replace(chunk, rows=rows)


def _typed(plan: Plan, raw: pa.Table, values: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """The columns of a plan's relation. What was cast is not cast again: it is the costly part."""
    typed = {name: values[name] if name in values else raw.column(name) for name in (*plan.columns, *values)}
    return pa.table({**typed, **{f"{RAW}{name}": raw.column(name) for name in raw.column_names}})


def _joined(given: pa.ChunkedArray | None, made: pa.ChunkedArray | None) -> pa.ChunkedArray | pa.Scalar:
    """One JSON object a row of what the source put into `extra` and of columns that the contract does not name."""
    if given is None or made is None:
        one = made if given is None else given
        return pa.scalar(None, pa.string()) if one is None else one
    both = pc.binary_join_element_wise(pc.utf8_slice_codeunits(given, 0, -1), pc.utf8_slice_codeunits(made, 1), ", ")
    return pc.coalesce(both, given, made)


def _column(value: pa.ChunkedArray | pa.Scalar, kind: pa.DataType, rows: int) -> pa.ChunkedArray | pa.Array:
    if isinstance(value, pa.Scalar):
        return pa.repeat(value.cast(kind), rows)
    if value.type.equals(kind):
        return value
    if isinstance(kind, pa.UuidType):
        return _uuids(value, kind)
    return value.cast(kind)


def _uuids(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    hexes = pc.replace_substring(texts.combine_chunks(), "-", "")
    raw = pa.array([bytes.fromhex(text) if text is not None else None for text in hexes.to_pylist()], pa.binary(16))
    return pa.ExtensionArray.from_storage(kind, raw)
