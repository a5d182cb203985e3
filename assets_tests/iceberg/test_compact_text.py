"""Text that is no UTF-8, as other programs have written it: never changed, never shown, and in nobody's way."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import ListType, LongType

from lakehouse.errors import AuditFailed
from lakehouse.iceberg import Compaction, CompactionStep, Lake, LakeTable
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, Table, TableName

CITIES = Table(
    TableName(Layer.GOLD, "cities"), "shop", "Cities", (Column("id", "long"), Column("city", "string")), Path("c.yaml")
)
LATIN = b"Andr\xe9's caf\xe9"


@pytest.fixture(params=["by DuckDB", "by our writer"])
def table(request: pytest.FixtureRequest, lake: Lake) -> LakeTable:
    """Four files, a city each."""
    made = lake.create(CITIES)
    for number in range(4):
        made.append(pa.table({"id": [number], "city": [f"city {number}"]}, made.schema()), run_key=f"{number}")
    if request.param == "by our writer":
        # What DuckDB cannot find by field id.
        with lake._catalog.load_table(CITIES.name.key).update_schema() as other:  # noqa: SLF001  (another program)
            other.add_column("ids", ListType(100, LongType(), element_required=False))
    return made


def in_latin(file: Path) -> None:
    """The file as a program would have written it that takes Latin-1 for text."""
    rows = pq.read_table(file)
    bad = pa.array([LATIN] * rows.num_rows, pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(bad), bad.buffers())
    changed = rows.set_column(rows.schema.get_field_index("city"), rows.schema.field("city"), text)
    pq.write_table(changed, file, store_schema=False)


def groups(table: LakeTable) -> list[list[str]]:
    """The two files that came first, and the two that came last."""
    files = [file.path for file in sorted(table.live_files(), key=lambda file: file.sequence)]
    return [files[:2], files[2:]]


def cities(table: LakeTable) -> list[bytes]:
    column = table.scan().read_all().sort_by("id")["city"]
    return [bytes(value.as_buffer()) for value in column]


def test_its_group_is_refused_with_a_sentence_and_the_others_are_packed(
    table: LakeTable, duck: duckdb.DuckDBPyConnection
) -> None:
    first, second = groups(table)
    in_latin(local_path(first[0]))
    done: Compaction = table.compact([first, second], connection=duck)
    (refused,) = done.refused
    assert first[0].rpartition("/")[2] in refused
    assert "not UTF-8" in refused
    assert "caf" not in refused, "it may be about a person"
    assert (done.groups, done.files_before, done.overtaken) == (1, 2, 0)
    assert cities(table) == [LATIN, b"city 1", b"city 2", b"city 3"]
    assert {file.path for file in table.live_files()} > set(first)
    # Nothing is left of the attempt.
    folder = local_path(first[0]).parent
    assert len(list(folder.glob("*.parquet"))) == 4 + 1


def test_what_was_committed_before_a_failure_is_told(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    told: list[Compaction] = []

    def stop(step: CompactionStep) -> None:
        if step.group == 2:  # the first is committed by then
            raise AuditFailed("stopped", remedy="Go on.")

    with pytest.raises(AuditFailed):
        table.compact(groups(table), connection=duck, batch_bytes=1, progress=stop, so_far=told.append)
    (done,) = told
    assert (done.groups, done.files_before, done.files_after, done.rows) == (1, 2, 1, 2)
    assert done.commits[-1].snapshot_id == table.snapshots()[0].id
    assert len(table.live_files()) == 3
