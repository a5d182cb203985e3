"""Profile local: the same demo on an S3 server and PostgreSQL gives the same tables, and leaves nothing in folders."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from lakehouse.contracts import read_tables
from lakehouse.services.endpoints import postgres_url
from lakehouse.settings import FilesSource
from lakehouse.storage.open import open_store
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Demo

    from lakehouse.storage import Store


def place(demo: Demo, root: str) -> Store:
    return open_store(demo.settings, root)


def rows(demo: Demo, name: TableName, columns: str) -> Counter[tuple[Any, ...]]:
    return Counter(demo.rows(f"select {columns} from {name}"))


def test_every_table_has_the_rows_of_the_embedded_demo(local: Demo, small: Demo) -> None:
    assert (local.result.returncode, small.result.returncode) == (0, 0), local.result.stderr
    tables = read_tables(local.settings.defs)
    assert len(tables) == 16
    for name, table in tables.items():
        # Names that begin with _ say when and by which run a row was loaded.
        columns = ", ".join(column.name for column in table.columns if not column.name.startswith("_"))
        expected = rows(small, name, columns)
        assert rows(local, name, columns) == expected, name
        assert expected, name


def test_all_of_it_is_on_s3_and_in_postgresql(local: Demo) -> None:
    settings = local.settings
    source = settings.sources["landing"]
    assert isinstance(source, FilesSource)
    assert settings.dagster.logs is not None
    assert settings.dagster.storage is not None
    delivered = [seen.path for seen in place(local, source.root).list()]
    assert len(delivered) == 12
    assert all(path.startswith("payments/payments-2026-01-") for path in delivered)
    written = [seen.path for seen in place(local, settings.warehouse).list()]
    assert {".parquet", ".avro", ".json"} <= {Path(path).suffix for path in written}
    logs = [seen.path for seen in place(local, settings.dagster.logs).list("storage/")]
    assert {".out", ".err"} == {Path(path).suffix for path in logs}
    # Of the folders that the embedded profile keeps, only what is no data is there.
    assert not (local.state / "landing").exists()
    assert not (local.state / "warehouse").exists()
    assert not list((local.state / "dagster").rglob("*.db"))
    address = postgres_url(settings, settings.dagster.storage).get_secret_value()
    with closing(psycopg.connect(address)) as connection:
        found = connection.execute("SELECT DISTINCT status FROM runs").fetchall()
    assert sorted(found) == [("FAILURE",), ("SUCCESS",)], "all went well but the delivery that was stopped"


def test_no_secret_is_in_a_file_of_dagster(local: Demo) -> None:
    remembered = json.loads((local.state / "s3" / "server.json").read_text())
    secrets = [remembered["access_key"], remembered["secret_key"]]
    for file in local.state.joinpath("dagster").rglob("*"):
        text = file.read_bytes() if file.is_file() else b""
        assert not [secret for secret in secrets if secret.encode() in text], file


def test_the_shop_lives_on_in_the_bucket(local: Demo) -> None:
    done = local.run("demo", "advance", "--days", "2", "--late", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert local.rows("select count(*) from gold.daily_revenue") == [(14,)]
    sent = "select distinct payment_id from truth.payments_sent where defect is null order by 1"
    assert local.rows("select payment_id from silver.payments order by 1") == local.truth(sent)
