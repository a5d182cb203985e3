"""Opening the lake: unreachable catalogs, moved warehouses, and many writers at once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.update import SetSnapshotRefUpdate

from assets_tests.forks import Fork
from bench.proxy import Fault, Proxy
from lakehouse.errors import CatalogError, StateError, TableMissing
from lakehouse.iceberg import Lake
from lakehouse.iceberg.catalogs.catalog import open_catalog
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Catalog, Settings, load_settings
from lakehouse.tables import Table, TableName

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def any_settings(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    """Both in `make test`: processes meet in them in different ways."""
    return place(request.param, "folder")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg://someone:hunter2@127.0.0.1:1/lake",
        "sqlite:////no/such/folder/catalog.db",
        "no-such-dialect://x",
        "hunter2",
        "http://someone:hunter2@127.0.0.1:1/lake",
        "https://127.0.0.1:1",
    ],
)
def test_an_unreachable_catalog_is_said_without_its_password(settings: Settings, uri: str) -> None:
    catalog = Catalog(uri=SecretStr(uri), token=SecretStr("hunter2"))
    with pytest.raises(CatalogError) as caught:
        Lake.open(settings.model_copy(update={"catalog": catalog}))
    assert "hunter2" not in str(caught.value)
    assert "LAKEHOUSE_CATALOG__URI" in caught.value.remedy


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500, 503])
def test_what_is_no_rest_catalog_or_refuses_us_is_an_error_of_ours(settings: Settings, status: int) -> None:
    with Proxy("http://127.0.0.1:1") as server:
        server.judge = lambda _request: Fault(deliveries=0, status=status)
        catalog = Catalog(uri=SecretStr(server.url), warehouse="shop", token=SecretStr("hunter2"))
        with pytest.raises(CatalogError) as caught:
            Lake.open(settings.model_copy(update={"catalog": catalog}))
        assert "hunter2" not in str(caught.value)
        asked = {(request.method, request.path, request.authorization) for request in server.seen}
        assert asked == {("GET", "/v1/config?warehouse=shop", "Bearer hunter2")}
        # What is down for a moment is asked again, but not for ever.
        assert len(server.seen) == (3 if status == 503 else 1)


def test_a_database_that_answers_too_late_is_given_up(
    place: Callable[[str, str], Settings], postgres: EmbeddedPostgres, orders: Table, rows: Rows
) -> None:
    settings = place("postgres", "folder")
    hasty = settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"timeout_s": 1})})
    table = Lake.open(hasty).create(orders)
    with psycopg.connect(postgres.uri("iceberg").get_secret_value()) as other:
        other.execute("LOCK TABLE iceberg_tables IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CatalogError):
            table.append(rows([1]), run_key="a")
    assert not table.append(rows([1]), run_key="a").already_done
    assert table.stats().rows == 1


def test_a_ref_that_was_not_set_back_is_not_taken_for_one_that_was(
    lake: Lake, settings: Settings, orders: Table, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.create(orders)
    first = table.append(rows([1]), run_key="a").snapshot_id
    table.append(rows([2]), run_key="b")
    catalog = open_catalog(settings)
    loaded = catalog.load_table(orders.name.key)
    back = SetSnapshotRefUpdate.model_validate({"ref-name": "main", "type": "branch", "snapshot-id": first})
    honest = SqlCatalog.commit_table

    def refuse(*_arguments: object) -> object:
        raise CommitFailedException("another writer was faster")

    def land_and_refuse(self: SqlCatalog, *arguments: object) -> object:
        honest(self, *arguments)  # type: ignore[arg-type]  # they are passed on as they came
        raise CommitFailedException("though it landed")

    monkeypatch.setattr(SqlCatalog, "commit_table", refuse)
    with pytest.raises(CommitFailedException):
        catalog.commit_table(loaded, (), (back,))
    assert table.stats().rows == 2
    monkeypatch.setattr(SqlCatalog, "commit_table", land_and_refuse)
    assert catalog.commit_table(loaded, (), (back,)).metadata.current_snapshot_id == first
    assert table.stats().rows == 1


def test_a_missing_table_is_named(lake: Lake, orders: Table) -> None:
    assert not lake.exists(orders.name)
    for act in (lake.table, lake.drop):
        with pytest.raises(TableMissing, match=r"silver\.orders"):
            act(orders.name)


def test_tables_are_listed_dropped_and_made_again(any_lake: Lake, orders: Table, flat: Table, rows: Rows) -> None:
    assert any_lake.names() == ()
    any_lake.create(orders).append(rows([1]), run_key="a")
    any_lake.create(flat)
    assert any_lake.names() == (TableName.parse("gold.flat"), TableName.parse("silver.orders"))
    any_lake.drop(orders.name)
    assert any_lake.names() == (flat.name,)
    assert any_lake.create(orders).stats().rows == 0


def test_a_second_lake_on_the_same_state_sees_the_tables(lake: Lake, settings: Settings, orders: Table) -> None:
    lake.create(orders)
    assert Lake.open(settings).exists(orders.name)


def test_a_moved_folder_is_told_from_a_missing_table(
    lake: Lake, settings: Settings, orders: Table, rows: Rows, tmp_path: Path
) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    shutil.move(settings.state, tmp_path / "elsewhere")
    moved = load_settings(
        ROOT, state=str(tmp_path / "elsewhere"), catalog={"uri": f"sqlite:///{tmp_path}/elsewhere/catalog.db"}
    )
    with pytest.raises(StateError, match="make clean") as caught:
        Lake.open(moved).table(orders.name)
    assert str(tmp_path / "elsewhere") in str(caught.value.expected)


def test_a_copied_folder_never_writes_to_the_original(
    lake: Lake, settings: Settings, orders: Table, rows: Rows, tmp_path: Path
) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    shutil.copytree(settings.state, tmp_path / "copy")
    copy = load_settings(ROOT, state=str(tmp_path / "copy"), catalog={"uri": f"sqlite:///{tmp_path}/copy/catalog.db"})
    with pytest.raises(StateError) as caught:
        Lake.open(copy).create(orders)
    assert str(settings.state) in str(caught.value.found)


def test_the_metadata_file_missing_is_a_state_error(lake: Lake, settings: Settings, orders: Table) -> None:
    lake.create(orders)
    for file in (settings.state / "warehouse").rglob("*.metadata.json"):
        file.unlink()
    with pytest.raises(StateError, match=r"silver\.orders"):
        Lake.open(settings).table(orders.name)


def test_no_metadata_file_is_read_twice_and_what_others_commit_is_seen_at_once(
    lake: Lake, settings: Settings, orders: Table, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On S3 each of them is a request, and a load of a few rows asks for the table a dozen times."""
    table, other = lake.create(orders), Lake.open(settings).table(orders.name)
    honest, read = FromInputFile.table_metadata, Counter[str]()

    def counted(file: InputFile, *more: Any) -> object:  # noqa: ANN401  (PyIceberg's own)
        read[file.location] += 1
        return honest(file, *more)

    monkeypatch.setattr(FromInputFile, "table_metadata", staticmethod(counted))
    for number in range(20):
        table.append(rows([number]), run_key=f"a{number}", progress={"a": {"at": number}})
        assert table.progress("a") == {"at": number}
    assert not read
    other.append(rows([20]), run_key="b")
    assert read.total() == 1
    assert sorted(table.scan(columns=["order_id"]).read_all()["order_id"].to_pylist()) == list(range(21))
    assert read.total() == 2
    assert max(read.values()) == 1


_WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import TableName
root, state, name, uri, number, branch = sys.argv[1:]
lake = Lake.open(load_settings(Path(root), state=state, catalog={"name": name, "uri": uri}))
table = lake.table(TableName.parse("gold.flat"))
schema = table.schema()
retries = 0
print("ready", flush=True)
sys.stdin.readline()
for turn in range(5):
    key = int(number) * 100 + turn
    row = {"order_id": [key], "order_date": [0], "amount": [None], "paid_at": [None], "email": [None]}
    progress = {f"writer-{number}": {"turn": turn}}
    commit = table.append(pa.table(row, schema=schema), run_key=f"{number}-{turn}", progress=progress, branch=branch)
    retries += commit.retries
print(retries)
"""


@pytest.fixture
def write(any_settings: Settings, fork: Callable[..., Fork]) -> Callable[[int, str], Fork]:
    """write(number, branch): a process that writes to a branch of gold.flat when told to go."""
    uri = any_settings.catalog.uri.get_secret_value()
    words = [ROOT, any_settings.state, any_settings.catalog.name, uri]
    return lambda number, branch: fork(_WRITER, *words, number, branch)


@pytest.mark.parametrize("own_branches", [False, True])
def test_three_processes_lose_nothing(
    any_lake: Lake, flat: Table, ids: Ids, write: Callable[[int, str], Fork], *, own_branches: bool
) -> None:
    table = any_lake.create(flat)
    branches = [f"run/{number}" if own_branches else "main" for number in range(3)]
    for branch in branches:
        if own_branches:
            table.create_branch(branch)
    writers = [write(number, branch) for number, branch in enumerate(branches)]
    for writer in writers:
        assert writer.line() == "ready", writer.stderr
    for writer in writers:
        writer.go()
    answers = [writer.rest()[-1] for writer in writers]
    assert sum(map(int, answers)) > 0, "they never met: the test shows nothing"
    for number, branch in enumerate(branches):
        mine = [number * 100 + turn for turn in range(5)]
        assert [key for key in ids(table, branch) if key // 100 == number] == mine
        assert table.progress(f"writer-{number}", branch) == {"turn": 4}


def test_two_processes_may_make_the_catalog_and_the_table_at_once(
    settings: Settings, fork: Callable[..., Fork]
) -> None:
    code = """
import sys
from pathlib import Path
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName
lake = Lake.open(load_settings(Path(sys.argv[1]), state=sys.argv[2], catalog={"uri": sys.argv[3]}))
for number in range(5):
    name = TableName(Layer.SILVER, f"one{number}")
    lake.create(Table(name, "d", "", (Column("a", "long"),), Path("one.yaml")))
    lake.views.save("gold", f"view{number}", "select 1")
print(len(lake.names()))
"""
    uri = settings.catalog.uri.get_secret_value()
    makers = [fork(code, ROOT, settings.state, uri) for _ in range(3)]
    assert [maker.rest()[-1] for maker in makers] == ["5"] * 3
