"""Changes held against Counters of rows, over whatever two programs and a changing contract do."""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog

from lakehouse.errors import QueryError
from lakehouse.iceberg import CHANGE, Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
D1, D2, D3 = (date(2026, 1, number) for number in (1, 2, 3))


NAME = TableName(Layer.SILVER, "t")
COLUMNS = (
    Column("k", "long", required=True),
    Column("day", "date", required=True),
    Column("f", "double"),
    Column("d", "decimal(20, 3)"),
    Column("at", "timestamptz"),
    Column("s", "string"),
)
Row = dict[str, Any]
FLOATS = st.sampled_from([None, 0.0, -0.0, math.nan, math.inf, 1.5])
ROW = st.fixed_dictionaries(
    {
        "k": st.integers(0, 5),
        "day": st.sampled_from([D1, D2, D3]),
        "f": FLOATS,
        "d": st.sampled_from([None, Decimal("0.000"), Decimal("0.001"), Decimal("99999999999999999.999")]),
        "at": st.sampled_from([None, datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)]),
        "s": st.sampled_from([None, "", "a", "A"]),
    }
)
STEP = st.one_of(
    st.tuples(st.just("append"), st.lists(ROW, max_size=4)),
    st.tuples(st.just("overwrite"), st.lists(ROW, max_size=4)),
    st.tuples(st.just("window"), st.lists(ROW.map(lambda row: {**row, "day": D2}), max_size=3)),
    st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.just("foreign delete"), st.integers(0, 5)),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("evolve"), st.none()),
)


Frozen = tuple[tuple[str, Any], ...]


def frozen(row: Row) -> Frozen:
    """A row as a value in which -0.0 is not 0.0, and NaN is itself."""
    return tuple(
        (name, struct.pack(">d", value) if isinstance(value, float) else value) for name, value in sorted(row.items())
    )


class World:
    """A table, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.contract = Table(NAME, "d", "", COLUMNS, Path("t.yaml"), window_column="day")
        given_settings = load_settings(ROOT, state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})
        self.lake = Lake.open(given_settings)
        self.table = self.lake.create(self.contract)
        self.other = SqlCatalog(
            given_settings.catalog.name,
            uri=given_settings.catalog.uri.get_secret_value(),
            warehouse=given_settings.warehouse,
        )
        self.rows: list[Row] = []
        self.keys = 0

    def arrow(self, rows: list[Row]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=self.table.schema())

    def step(self, kind: str, given: Any) -> None:  # noqa: ANN401  (one branch a kind of step)
        self.keys += 1
        promise = f"{self.keys}"
        extra = {column.name: None for column in self.contract.columns[len(COLUMNS) :]}
        rows = [{**row, **extra} for row in given] if isinstance(given, list) else []
        match kind:
            case "append":
                self.table.append(self.arrow(rows), run_key=promise)
                self.rows = self.rows + rows
            case "overwrite":
                self.table.overwrite(self.arrow(rows), where=None, run_key=promise)
                self.rows = rows
            case "window":
                self.table.overwrite(self.arrow(rows), where=Window.of_days(D2, D2), run_key=promise)
                self.rows = [row for row in self.rows if row["day"] != D2] + rows
            case "delete":
                self.table.delete(f"k = {given}", run_key=promise)
                self.rows = [row for row in self.rows if row["k"] != given]
            case "foreign delete":
                other = self.other.load_table(NAME.key)
                if other.current_snapshot() is not None and any(row["k"] == given for row in self.rows):
                    other.delete(f"k = {given}")
                self.rows = [row for row in self.rows if row["k"] != given]
            case "compact":
                files = [task.file.file_path for task in self.other.load_table(NAME.key).scan().plan_files()]
                self.table.replace_files(files, self.arrow(self.rows), run_key=promise)
            case "evolve":
                new = Column(f"n{self.keys}", "long")
                self.contract = replace(self.contract, columns=(*self.contract.columns, new))
                self.lake.create(self.contract)
                self.rows = [{**row, new.name: None} for row in self.rows]


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[[], World]]:
    folders: list[Path] = []

    def make() -> World:
        folders.append(Path(tempfile.mkdtemp()))
        return World(folders[-1])

    yield make
    for folder in folders:
        shutil.rmtree(folder)


@given(before=st.lists(STEP, max_size=3), after=st.lists(STEP, max_size=4), keyed=st.booleans())
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_changes_are_the_difference_of_the_rows(
    worlds: Callable[[], World], before: list[tuple[str, Any]], after: list[tuple[str, Any]], *, keyed: bool
) -> None:
    world = worlds()
    world.table.append(world.arrow([]), run_key="first", progress={"s": {"at": 0}})
    for step in before:
        world.step(*step)
    since = world.table.snapshots()[0]
    old = world.rows
    for step in after:
        world.step(*step)
    extra = {column.name: None for column in world.contract.columns}
    was, now = Counter(frozen({**extra, **row}) for row in old), Counter(frozen(row) for row in world.rows)
    gone, new = was - now, now - was
    touched = {dict(row)["day"] for row in (gone + new)}
    with world.table.changes(since.id, key=("k",) if keyed else ()) as changes:
        keys = [Counter(dict(row)["k"] for row in side.elements()) for side in (gone, new)]
        if changes.append_only:
            # Rows that came and are there already are inserts too; nothing goes.
            assert not gone
        if keyed and any(count > 1 for side in keys for count in side.values()):
            with pytest.raises(QueryError, match="k="):
                changes.rows()
            return
        rows = changes.rows().read_all().to_pylist()
        found: dict[str, Counter[Frozen]] = {"-": Counter(), "+": Counter()}
        for row in rows:
            change = row.pop(CHANGE)
            found["-" if change in {"delete", "update_before"} else "+"][frozen(row)] += 1
            if change.startswith("update"):
                assert keyed
                assert keys[0][row["k"]] == keys[1][row["k"]] == 1
        assert (found["-"], found["+"]) == (gone, new)
        assert set(changes.days) == touched
    assert touched <= set(world.table.changed_days(since.sequence_number).days)
