"""Loads of profile local: landing folder, warehouse and quarantine on S3 servers, sources and catalog in PostgreSQL.

What a load does at all is tested on folders; here stands what could be otherwise where files are objects.
"""

from __future__ import annotations

import json
import pickle
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from assets_tests.forks import PATIENCE_S, Fork
from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows
from lakehouse.iceberg import Lake
from lakehouse.ingest import load, replay
from lakehouse.ledger import recorded_loads
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import S3, Settings, load_settings
from lakehouse.storage.open import s3_client
from lakehouse.tables import LoadPolicy, Rule, Table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MakeTable = Callable[..., Table]
ROOT = Path(__file__).resolve().parents[2]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
KILLED = """
import os, pickle, signal, sys
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest import load
from lakehouse.tables import Layer

settings, table = pickle.load(open(sys.argv[1], "rb"))
append = LakeTable.append

def die_before_bronze(self, rows, **promises):
    if self.name.layer is Layer.BRONZE:
        rows.read_all()
        os.kill(os.getpid(), signal.SIGKILL)
    return append(self, rows, **promises)

LakeTable.append = die_before_bronze
load(settings, Lake.open(settings), table, run_id="killed")
"""


@pytest.fixture
def local(s3_server: S3, bucket: str, postgres: EmbeddedPostgres, tmp_path: Path) -> Settings:
    name = uuid.uuid4().hex[:12]
    catalog = postgres.uri(f"catalog_{name}", driver="postgresql+psycopg").get_secret_value()
    made = load_settings(
        ROOT,
        state=str(tmp_path / "state"),
        warehouse=f"s3://{bucket}/warehouse",
        catalog={"uri": catalog},
        loads={"retry_seconds": 0},
        sources={
            "landing": {"kind": "files", "root": f"s3://{bucket}/landing"},
            "shop": {"kind": "postgres", "url": postgres.uri(f"shop_{name}").get_secret_value()},
        },
    )
    made.state.mkdir()
    return made.model_copy(update={"s3": s3_server})


@pytest.fixture
def lake(local: Settings) -> Lake:
    return Lake.open(local)


@pytest.fixture
def deliver(local: Settings, bucket: str) -> Iterator[Callable[..., None]]:
    client: S3Client = s3_client(local)

    def put(name: str, *records: object) -> None:
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        client.put_object(Bucket=bucket, Key=f"landing/{name}", Body="\n".join(lines).encode())

    yield put
    client.close()


@pytest.mark.parametrize(
    "options",
    [
        {"watermark": "updated_at", "clock": "clock_timestamp() + interval '1 second'"},
        {"watermark": "xmin"},
        {"watermark": "full"},
    ],
    ids=lambda options: options["watermark"],
)
def test_each_version_comes_from_postgresql_once(
    local: Settings, lake: Lake, make_table: MakeTable, options: Mapping[str, object]
) -> None:
    columns = {"id": "long", "name": "string", "updated_at": "timestamptz"}
    table = make_table(columns, key=["id"], source="shop", options={"table": "things", **options})
    url = local.sources["shop"].url.get_secret_value()  # type: ignore[union-attr]  # it is a database
    with psycopg.connect(url, autocommit=True) as shop, psycopg.connect(url) as late:
        shop.execute("create table things (id bigint primary key, name text, updated_at timestamptz default now())")
        late.execute("insert into things values (1, 'late')")
        shop.execute("insert into things values (2, 'two'), (3, 'three')")
        load(local, lake, table, run_id="1")
        late.commit()
        shop.execute("update things set name = 'new', updated_at = now() where id = 2")
        shop.execute("delete from things where id = 3")
        results = [load(local, lake, table, run_id=run) for run in ("2", "3")]
    assert all(map(balanced, results))
    stored = Counter(str(row["name"]) for row in rows(lake, table.name) if not row.get("_deleted"))
    # By a watermark column, nothing was read while the transaction was open.
    by_column = options["watermark"] == "updated_at"
    assert stored == Counter(["late", "new"] if by_column else ["late", "two", "three", "new"])
    marked = [row["name"] for row in rows(lake, table.name) if row.get("_deleted")]
    assert marked == (["three"] if options["watermark"] == "full" else [])


def test_what_is_quarantined_enters_once_when_the_contract_is_mended(
    local: Settings, lake: Lake, make_table: MakeTable, deliver: Callable[..., None]
) -> None:
    strict = make_table(COLUMNS, required=["payment_id"], rules=[Rule("large", "amount > 100")], reject_limit=1.0)
    deliver("2026-01-01.jsonl", paid("P1", "200"), paid("P2", "12.30"), paid(None), "{broken")
    first = load(local, lake, strict, run_id="1")
    assert (first.rows_read, first.rows_published, first.rows_quarantined) == (4, 1, 3)
    assert load(local, lake, strict, run_id="2").commit is None
    mended = replace(strict, rules=())
    assert [replay(local, lake, mended, run_id=run).entered for run in ("3", "4")] == [1, 0]
    deliver("2026-01-02.jsonl", paid("P3", "1"))
    assert load(local, lake, mended, run_id="5").rows_published == 1
    assert ids(lake, mended) == ["P1", "P2", "P3"]
    assert Counter(row["state"] for row in rows(lake, QUARANTINE)) == {"replayed": 1, "open": 2}
    # A file that is read again brings nothing.
    again = load(local, lake, mended, run_id="6", full=True)
    assert (again.rows_read, again.rows_published, balanced(again)) == (5, 0, True)


def test_a_load_killed_between_quarantine_and_bronze_is_done_again_without_doubling(  # noqa: PLR0913, PLR0917
    fork: Callable[..., Fork],
    local: Settings,
    lake: Lake,
    make_table: MakeTable,
    deliver: Callable[..., None],
    tmp_path: Path,
) -> None:
    table = replace(make_table(COLUMNS, required=["payment_id"]), load=LoadPolicy("landing", {"files": "*.jsonl"}, 0.5))
    deliver("a.jsonl", paid("P1"), paid(None), "{broken", paid("P2"), paid("P3"))
    (tmp_path / "task").write_bytes(pickle.dumps((local, table)))
    died = fork(KILLED, tmp_path / "task")
    died.process.join(PATIENCE_S)
    assert died.process.exitcode == -signal.SIGKILL, died.stderr
    assert (len(rows(lake, QUARANTINE)), rows(lake, table.name)) == (2, [])

    deliver("b.jsonl", paid("P4"), paid(None))
    result = load(local, lake, table, run_id="again")
    assert ids(lake, table) == ["P1", "P2", "P3", "P4"]
    assert (result.rows_quarantined, result.rows_seen, len(rows(lake, QUARANTINE))) == (1, 2, 3)
    assert balanced(result)
    assert [one.difference for one in recorded_loads(lake, limit=9)] == [0]
