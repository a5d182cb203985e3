"""Four processes write rows of overlapping keys at once: no key is lost, none is there twice, and the order of their
snapshots is the order in which they wrote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets_tests.forks import Fork
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, Table, TableName

ROOT = Path(__file__).resolve().parents[3]
WRITERS = 4
STEPS = 4
KEYS = 12
BEGIN = date(2026, 1, 1)

_CHILD = """
import datetime, json, sys
from pathlib import Path
import pyarrow as pa
from lakehouse.iceberg import Lake, Way, connect
from lakehouse.settings import load_settings
from lakehouse.tables import TableName
root, state, warehouse, name, uri, table, effect, me, steps, keys = sys.argv[1:]
me, steps, keys = int(me), int(steps), int(keys)
settings = load_settings(Path(root), state=state, warehouse=warehouse, catalog={"name": name, "uri": uri})
table = Lake.open(settings).table(TableName.parse(table))
duck = connect(settings)
print("ready", flush=True)
sys.stdin.readline()
retries = 0
for step in range(steps):
    # Each takes half of all keys, some of them new to the table, and one of its own.
    ids = [(3 * me + step + number) % keys for number in range(keys // 2)] + [1000 + me]
    version, told = 10 * step + me, f"{me} {step}"
    given = {
        "key": ["id"], "connection": duck, "way": list(Way)[(me + step) % 2], "run_key": told,
        "progress": {f"writer {me}": {"step": step}},
    }
    if effect == "merge":
        rows = pa.table({"id": ids, "version": [version] * len(ids), "name": [told] * len(ids)})
        commit = table.merge(rows, sequence="version", **given)
    elif effect == "replace_keys":
        # As many rows of each key as the step says, and one more.
        ids *= step + 1
        rows = pa.table({"id": ids, "version": [version] * len(ids), "name": [told] * len(ids)})
        commit = table.replace_keys(rows, **given)
    else:
        since = [datetime.date(2026, 1, 1) + datetime.timedelta(days=version)] * len(ids)
        rows = pa.table({"id": ids, "since": since, "name": [told] * len(ids)})
        commit = table.history(rows, effective="since", valid_from="since", valid_to="until", current=None, **given)
    assert not commit.already_done
    retries += commit.retries
print(json.dumps({"retries": retries}))
"""


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.services),
        pytest.param("rest", marks=pytest.mark.services),
    ]
)
def any_settings(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    return place(request.param, "folder")


@pytest.fixture
def write(
    any_lake: Lake,
    any_settings: Settings,
    named: Callable[[Table], Table],
    fork: Callable[..., Fork],
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., LakeTable]:
    """write("merge", column, ...): the table of these columns, and of id and name, once all have written."""

    def run(effect: str, *columns: Column) -> LakeTable:
        declared = named(
            Table(
                name=TableName(Layer.SILVER, "things"),
                domain="shop",
                description="Things",
                columns=(Column("id", "long"), Column("name", "string"), *columns),
                file=Path("things.yaml"),
            )
        )
        table, catalog = any_lake.create(declared), any_settings.catalog
        uri = catalog.uri.get_secret_value()
        given = (any_settings.state, any_settings.warehouse, catalog.name, uri, declared.name, effect)
        children = [fork(_CHILD, ROOT, *given, me, STEPS, KEYS) for me in range(WRITERS)]
        for child in children:
            assert child.line() == "ready", child.stderr
        for child in children:
            child.go()
        retries = [json.loads(child.rest()[-1])["retries"] for child in children]
        # Each of them landed once, or had nothing newer to say.
        runs = [str(snapshot.run_key) for snapshot in table.snapshots()]
        assert sorted(runs) == sorted(f"{me} {step}" for me in range(WRITERS) for step in range(STEPS))
        assert {json.dumps(table.progress(f"writer {me}")) for me in range(WRITERS)} == {f'{{"step": {STEPS - 1}}}'}
        rounds = sum(json.loads(snapshot.summary["lakehouse.merge"])["rounds"] for snapshot in table.snapshots())
        with capsys.disabled():
            sys.stdout.write(f"\n{WRITERS} processes x {STEPS} {effect}: {rounds} rounds, retries {retries} ")
        return table

    return run


def keys_of(me: int, step: int) -> list[int]:
    """The keys that a writer takes in a step."""
    return [*((3 * me + step + of) % KEYS for of in range(KEYS // 2)), 1000 + me]


def in_order(table: LakeTable) -> list[tuple[int, int]]:
    """Who wrote which step, the first first."""
    return [(int(me), int(step)) for me, step in (str(of.run_key).split() for of in reversed(table.snapshots()))]


def shown(table: LakeTable, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[name] for name in columns) for row in table.scan().read_all().to_pylist())


def test_of_merged_rows_the_newest_is_there_once(write: Callable[..., LakeTable]) -> None:
    table = write("merge", Column("version", "long"))
    newest: dict[int, int] = {}
    for me, step in in_order(table):
        newest |= {number: max(newest.get(number, -1), 10 * step + me) for number in keys_of(me, step)}
    assert shown(table, "id", "version") == sorted(newest.items())
    assert all(name == f"{version % 10} {version // 10}" for version, name in shown(table, "version", "name"))


def test_of_keys_that_were_replaced_all_rows_of_the_last_are_there(write: Callable[..., LakeTable]) -> None:
    table = write("replace_keys", Column("version", "long"))
    last: dict[int, tuple[int, int]] = {}
    for me, step in in_order(table):
        last |= dict.fromkeys(keys_of(me, step), (me, step))
    expected = [(number, f"{me} {step}") for number, (me, step) in last.items() for _ in range(step + 1)]
    assert shown(table, "id", "name") == sorted(expected)


def test_versions_are_those_of_all_changes_in_whatever_order_they_came(write: Callable[..., LakeTable]) -> None:
    """No two of one moment; each ends where the next begins."""
    table = write("history", Column("since", "date"), Column("until", "date"))
    changes: dict[int, dict[date, str]] = {}
    for me, step in in_order(table):
        for number in keys_of(me, step):
            changes.setdefault(number, {})[BEGIN + timedelta(days=10 * step + me)] = f"{me} {step}"
    expected = []
    for number, moments in changes.items():
        ends = [*sorted(moments)[1:], None]
        expected += [(number, since, moments[since], until) for since, until in zip(sorted(moments), ends, strict=True)]
    assert shown(table, "id", "since", "name", "until") == sorted(expected)
