"""The rejected records of one load: collected on disk while it runs, and put into the quarantine once, before its rows.

What such a record says is `door.py`'s business; what becomes of it when its load is published, `states.py`'s.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO

import pyarrow as pa

from lakehouse.iceberg import Lake, LakeTable, connect
from lakehouse.ingest.quarantine import QUARANTINE_SCHEMA
from lakehouse.ingest.states import change
from lakehouse.settings import Settings
from lakehouse.tables import Position, Table

_EXAMPLES = 10
"""So many records that break a rule are kept to be shown."""
# Records that were met before and wait for another load now wait for this one; a record that was replayed or discarded
# stays so. Of what was met first nothing is taken back.
_TO_PUT = """
CREATE TEMP TABLE put AS
SELECT
    mine.* REPLACE (
        coalesce(known.run_key, mine.run_key) AS run_key,
        coalesce(known.extracted_at, mine.extracted_at) AS extracted_at,
        'held' AS state, $now AS state_at, $run_id AS state_by, $decided_by AS decided_by, $held_from AS held_from),
    known.state IS NULL AS is_new
FROM mine LEFT JOIN known USING (reject_id)
WHERE known.state IS NULL OR known.state = 'loaded'
    OR (known.state = 'held' AND (known.decided_by, known.held_from) IS DISTINCT FROM ($decided_by, $held_from))
"""


# Counted by itself, not as what is left: the balance of a load compares what several places say.
_SEEN = """
SELECT coalesce(sum(if(known.reject_id IS NULL, came.n - 1, came.n)), 0)::BIGINT
FROM (SELECT reject_id, count(*) AS n FROM all_of_them GROUP BY reject_id) came
LEFT JOIN (SELECT DISTINCT reject_id FROM known) known USING (reject_id)
"""


@dataclass
class Broken:
    """How many of a load's records broke one rule, and some of them: where each came from, and the values at fault."""

    rows: int = 0
    examples: list[Mapping[str, str | None]] = field(default_factory=list)

    def add(self, source: str, found: str | None) -> None:
        """Count one record; `found` is its JSON object of values."""
        self.rows += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"_source": source, **json.loads(found or "{}")})


@dataclass(frozen=True)
class Stored:
    """How many rejected records were added, and how many were there already (or came twice).

    `attempt` names the load and the records that it rejected; its snapshot says it, and so they are known to be `open`.
    """

    added: int = 0
    seen: int = 0
    attempt: str | None = None


class Rejects:
    """The rejected records of one load, which begins at the position `since`. Made by `collecting`."""

    def __init__(self, settings: Settings, file: IO[bytes], since: Position | None, run_id: str) -> None:
        self._settings, self._file = settings, file
        self._since, self._run_id = json.dumps(since, sort_keys=True), run_id
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.count = 0
        self.by_rule: dict[str, Broken] = {}

    def add(self, rejected: pa.Table) -> None:
        """Keep these, which have the schema of quarantine tables."""
        if not rejected.num_rows:
            return
        if self._writer is None:
            self._writer = pa.ipc.new_stream(self._file, QUARANTINE_SCHEMA)
        self._writer.write_table(rejected)
        self.count += rejected.num_rows
        columns = (rejected.column(name).to_pylist() for name in ("broken_rules", "source", "found"))
        for rules, source, found in zip(*columns, strict=True):
            for rule in json.loads(rules):
                self.by_rule.setdefault(rule, Broken()).add(source, found)

    def store(self, lake: Lake, table: Table, run_key: str) -> Stored:
        """Put those that are not known into the quarantine, as `held`, in one commit; none if there are none.

        They are `open` once the snapshot of their load is on main: see `states.settle`.
        """
        if self._writer is None:
            return Stored()
        self._writer.close()
        self._file.seek(0)
        with connect(self._settings) as connection:
            connection.register("collected", pa.ipc.open_stream(self._file))
            connection.execute("CREATE TEMP TABLE mine AS SELECT DISTINCT ON (reject_id) * FROM collected")
            self._file.seek(0)
            connection.register("collected_ids", pa.ipc.open_stream(self._file))
            connection.execute("CREATE TEMP TABLE all_of_them AS SELECT reject_id FROM collected_ids")
            ids = "SELECT md5(string_agg(reject_id, '' ORDER BY reject_id)) FROM mine"
            attempt = f"{run_key}-{connection.execute(ids).fetchall()[0][0]}"
            said = {"decided_by": attempt, "held_from": self._since, "run_id": self._run_id, "now": datetime.now(UTC)}
            added = seen = 0

            def put(target: LakeTable) -> pa.Table:
                nonlocal added, seen
                known = ("reject_id", "run_key", "extracted_at", "state", "decided_by", "held_from")
                connection.register("known_before", target.scan(columns=known))
                connection.execute("CREATE OR REPLACE TEMP TABLE known AS FROM known_before")
                connection.execute("DROP TABLE IF EXISTS put")
                connection.execute(_TO_PUT, said)
                ((added,),) = connection.execute("SELECT count(*) FROM put WHERE is_new").fetchall()
                ((seen,),) = connection.execute(_SEEN).fetchall()
                return connection.execute("SELECT * EXCLUDE is_new FROM put").to_arrow_table()

            change(lake, table, connection, put, summary={"lakehouse.load": run_key})
        return Stored(added, seen, attempt)


@contextmanager
def collecting(settings: Settings, since: Position | None, run_id: str) -> Iterator[Rejects]:
    """A place for rejected records in a temporary file of the state folder, gone at the end."""
    folder = settings.state / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Rejects(settings, file, since, run_id)
