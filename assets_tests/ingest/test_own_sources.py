"""Sources that a project brings itself: named in the settings, loaded as any other, and refused in words."""

from __future__ import annotations

import pickle
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from assets_tests.conftest import ROOT
from assets_tests.forks import Fork
from assets_tests.ingest.payments import balanced, rows
from lakehouse.errors import ContractError, SettingsError, SourceChanged
from lakehouse.iceberg import Lake
from lakehouse.ingest import load
from lakehouse.settings import OwnSource, Settings, load_settings
from lakehouse.sources import open_source
from lakehouse.tables import LoadPolicy, Table

MakeTable = Callable[..., Table]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def till(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project whose folder has the example's module and a database of sales."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.lakehouse.sources.till]\nkind = 'sqlite_source:SqliteReader'\noptions = {path = 'till.db'}\n"
    )
    (tmp_path / "sqlite_source.py").write_text((EXAMPLES / "sqlite_source.py").read_text())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "sqlite_source", raising=False)
    return load_settings(tmp_path, state=str(settings.state), catalog={"uri": settings.catalog.uri.get_secret_value()})


@pytest.fixture
def sell(tmp_path: Path) -> Iterator[Callable[..., None]]:
    with closing(sqlite3.connect(tmp_path / "till.db", isolation_level=None)) as connection:
        connection.execute("create table sales (id integer primary key, amount, note text)")

        def insert(*rows: tuple[object, ...]) -> None:
            connection.execute("begin")
            connection.executemany("insert into sales values (?, ?, ?)", rows)
            connection.execute("commit")

        yield insert


@pytest.fixture
def sales(make_table: MakeTable) -> Table:
    options = {"table": "sales", "key": "id"}
    return make_table({"id": "long", "amount": "decimal(10, 2)"}, required=["id"], source="till", options=options)


def test_the_example_loads_each_row_once(till: Settings, lake: Lake, sales: Table, sell: Callable[..., None]) -> None:
    sell((1, "1.50", None), (2, 3, "gift"))
    first = load(till, lake, sales, run_id="1")
    sell((3, "x", None), (4, 7.25, None))
    second = load(till, lake, sales, run_id="2")
    assert [(one.rows_published, one.rows_quarantined, balanced(one)) for one in (first, second)] == [
        (2, 0, True),
        (1, 1, True),
    ]
    assert (first.position, second.position) == ({"key": 2}, {"key": 4})
    assert load(till, lake, sales, run_id="3").commit is None
    stored = sorted((row["id"], str(row["amount"]), row["_source"], row["_extra"]) for row in rows(lake, sales.name))
    assert stored == [
        (1, "1.50", "till.db:sales#1", None),
        (2, "3.00", "till.db:sales#2", '{"note":"gift"}'),
        (4, "7.25", "till.db:sales#4", None),
    ]


def test_the_example_killed_before_its_commit_begins_again(
    till: Settings, sales: Table, sell: Callable[..., None], fork: Callable[..., Fork], tmp_path: Path
) -> None:
    lake = Lake.open(till)
    sell(*((number, "1", None) for number in range(1, 25_001)))
    (tmp_path / "task").write_bytes(pickle.dumps((till, sales)))
    child = fork(
        """
import os, pickle, signal, sys
from lakehouse.iceberg import Lake
from lakehouse.ingest import load

def die(rows, name):
    print(rows, flush=True)
    if rows > 20_000:
        os.kill(os.getpid(), signal.SIGKILL)

settings, table = pickle.load(open(sys.argv[1], "rb"))
load(settings, Lake.open(settings), table, run_id="killed", on_progress=die)
""",
        tmp_path / "task",
    )
    # Beside what the log says.
    assert [line for line in child.stdout.read().split() if line.isdigit()] == ["10000", "20000", "25000"]
    child.process.join()
    assert (child.process.exitcode, rows(lake, sales.name)) == (-9, [])
    sell((25_001, "1", None))
    result = load(till, lake, sales, run_id="2")
    assert (result.rows_published, result.position) == (25_001, {"key": 25_001})
    assert len({row["id"] for row in rows(lake, sales.name)}) == 25_001


def test_the_example_says_what_is_pending_and_what_is_wrong(
    till: Settings, sales: Table, sell: Callable[..., None]
) -> None:
    reader = open_source(till, sales)
    assert not reader.pending(None)
    sell((1, "1", None))
    assert (reader.pending(None), reader.pending({"key": 1})) == (True, False)
    assert [column.name for column in reader.columns()] == ["id", "amount", "note"]
    with pytest.raises(ContractError, match="load option 'wrong'"):
        open_source(till, replace(sales, load=LoadPolicy("till", {"table": "sales", "key": "id", "wrong": 1})))
    with pytest.raises(SourceChanged, match="no such table: nothing"):
        open_source(till, replace(sales, load=LoadPolicy("till", {"table": "nothing", "key": "id"}))).read(None)


def test_a_position_may_be_a_map(settings: Settings, lake: Lake, make_table: MakeTable) -> None:
    queue = settings.state / "queue"
    queue.mkdir()
    source = OwnSource(kind="assets_tests.ingest.own:PartitionedReader", options={"root": "queue"})
    settings = settings.model_copy(update={"sources": {"queue": source}})
    table = replace(make_table({"id": "long"}), load=LoadPolicy("queue"))
    for partition, offsets in (("p0", range(3)), ("p1", range(2))):
        (queue / partition).write_text("".join(f'{{"id": {offset}}}\n' for offset in offsets))
    first = load(settings, lake, table, run_id="1")
    assert first.position == {"p0": 3, "p1": 2}
    (queue / "p1").write_text('{"id": 0}\n{"id": 1}\n{"id": 2}\n')
    (queue / "p2").write_text('{"id": 9}\n')
    second = load(settings, lake, table, run_id="2")
    assert (second.rows_published, second.position) == (2, {"p0": 3, "p1": 3, "p2": 1})
    assert sorted(str(row["_source"]) for row in rows(lake, table.name)) == [
        *("p0/0", "p0/1", "p0/2"),
        *("p1/0", "p1/1", "p1/2"),
        "p2/0",
    ]
    assert load(settings, lake, table, run_id="3").commit is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nowhere.at_all:Reader", r"the module nowhere\.at_all cannot be imported.*ModuleNotFoundError"),
        ("broken_module:Reader", r"the module broken_module cannot be imported.*ZeroDivisionError"),
        ("assets_tests.ingest.own:Reader", r"has no Reader.*own\.py"),
        ("assets_tests.ingest.own:reader", r"is no reader; expected a class with the methods read, pending, columns"),
        ("assets_tests.ingest.own:Unfinished", r"is no reader.*found no columns"),
        ("assets_tests.ingest.own:Choosy", r"cannot be made.*settings, source, table.*TypeError"),
    ],
)
def test_a_reader_that_is_none_is_refused_in_words(
    till: Settings, make_table: MakeTable, tmp_path: Path, kind: str, said: str
) -> None:
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    settings = till.model_copy(update={"sources": {"odd": OwnSource(kind=kind)}})
    with pytest.raises(SettingsError, match=f"source 'odd': .*{said}.*Mend it, or `kind`"):
        open_source(settings, replace(make_table({"id": "long"}), load=LoadPolicy("odd")))
