"""Open records of the quarantine, parsed again and judged once more by the contract as it is now.

What passes is kept on disk, as rows for bronze, and what does not is told with what is wrong with it now. What becomes
of either is `replay.py`.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, TypeAlias

import pyarrow as pa

from lakehouse.iceberg import Lake, LakeTable, arrow_schema, connect
from lakehouse.ingest.door import Door
from lakehouse.ingest.quarantine import State
from lakehouse.settings import Settings
from lakehouse.sources.payloads import Payload, parsed_again
from lakehouse.tables import Table
from lakehouse.tables.sql import quote

MARK = "replay-"
"""How the `_run_key` of a replayed row begins; behind it stands the `reject_id` of its record."""
_Row: TypeAlias = Mapping[str, Any]
FINDINGS = ("broken_rules", "found", "parsed", "error")
"""The columns of a record that say what is wrong with it."""
_COLUMNS = ("reject_id", "payload", "payload_raw", "payload_bytes", "source", "extracted_at", *FINDINGS)


class Revalidated:
    """What a second look at records has shown. Made by `revalidating`.

    `passed` are the ids of those that are good, `news` what is wrong with the others where that has changed, `broken`
    how many still break each rule.
    """

    def __init__(self, settings: Settings, table: Table, file: IO[bytes]) -> None:
        self._settings, self._table, self._file = settings, table, file
        self._schema: pa.Schema = arrow_schema(table.stored_columns)
        self._writer = pa.ipc.new_stream(file, self._schema)
        self.tried = 0
        self.passed: list[str] = []
        self.news: list[dict[str, object]] = []
        self.broken = Counter[str]()

    def look(self, quarantine: LakeTable, rule: str | None) -> None:
        """Judge the open records, or those of them that broke a rule. Called once."""
        with Door(self._table) as door:
            for batch in quarantine.scan(columns=_COLUMNS, where=f"state = '{State.OPEN}'"):
                chosen = [one for one in batch.to_pylist() if rule is None or rule in json.loads(one["broken_rules"])]
                self._judge(door, {one["reject_id"]: one for one in chosen})
        self._writer.close()

    def _judge(self, door: Door, records: Mapping[str, _Row]) -> None:
        # Their ids stand for their coordinates, so that each row is known again behind the door.
        payloads = (
            Payload(one["reject_id"], one["payload"], one["payload_raw"], one["payload_bytes"] or 0)
            for one in records.values()
        )
        split = door.split(parsed_again(self._settings, self._table, payloads), datetime.now(UTC), MARK)
        ids: list[str] = split.accepted.column("_source").to_pylist()
        self._writer.write_table(self._as_it_came(split.accepted, [records[one] for one in ids]))
        self.passed += ids
        self.tried += len(records)
        for found in split.rejected.to_pylist():
            self._still_broken(records[found["source"]], found)

    def _still_broken(self, before: _Row, found: _Row) -> None:
        now = found
        if found["parsed"] is None:
            # What never parsed says best itself why, in the words of its own parser.
            now = before if before["parsed"] is None else {**before, "error": found["error"]}
        self.broken.update(json.loads(now["broken_rules"]))
        if any(now[name] != before[name] for name in FINDINGS):
            self.news.append({"reject_id": before["reject_id"], **{name: now[name] for name in FINDINGS}})

    def _as_it_came(self, rows: pa.Table, records: list[_Row]) -> pa.Table:
        given = {
            "_source": [one["source"] for one in records],
            "_extracted_at": [one["extracted_at"] for one in records],
            "_run_key": [MARK + one["reject_id"] for one in records],
        }
        for name, values in given.items():
            field = self._schema.field(name)
            rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
        return rows

    def rows(self, but: frozenset[str]) -> Iterator[pa.RecordBatch]:
        """The rows that passed, without those of these records."""
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            keys = batch.column("_run_key").to_pylist()
            yield batch.filter(pa.array([key.removeprefix(MARK) not in but for key in keys]))

    def replayed_before(self, bronze: LakeTable) -> frozenset[str]:
        """Those of the records that passed whose rows a replay has brought to bronze."""
        keys = bronze.scan(columns=["_run_key"], where=f"_run_key like '{MARK}%'").read_all().column(0).to_pylist()
        return frozenset(self.passed) & {key.removeprefix(MARK) for key in keys}

    def loaded_since(self, lake: Lake) -> frozenset[str]:
        """Those of the records that passed whose very rows a load has brought to bronze since they were rejected."""
        if not self.passed:
            return frozenset()
        same = " AND ".join(
            f"loaded.{name} IS NOT DISTINCT FROM mine.{name}" for name in (quote(c.name) for c in self._table.columns)
        )
        with connect(self._settings) as connection:
            self._file.seek(0)
            connection.register("candidates", pa.ipc.open_stream(self._file))
            connection.execute("CREATE TEMP TABLE mine AS FROM candidates")
            ((since,),) = connection.execute("SELECT min(_extracted_at) FROM mine").fetchall()
            found = connection.execute(
                f"SELECT _run_key FROM mine SEMI JOIN (FROM {lake.relation_sql(self._table.name)} "
                f"WHERE _extracted_at >= ? AND NOT starts_with(_run_key, '{MARK}')) AS loaded "
                f"ON loaded._source = mine._source AND {same}",
                [since],
            ).fetchall()
        return frozenset(key.removeprefix(MARK) for (key,) in found)


@contextmanager
def revalidating(settings: Settings, table: Table) -> Iterator[Revalidated]:
    """A second look at the records of a table, its rows in a temporary file of the state folder, gone at the end."""
    folder = settings.state / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Revalidated(settings, table, file)
