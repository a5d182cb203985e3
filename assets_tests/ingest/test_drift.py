"""Sources that are not what the contract says: nothing they bring is lost, and the contract decides what is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from assets_tests.ingest.payments import QUARANTINE, rows
from assets_tests.ingest.through import AT
from lakehouse.contracts import read_tables
from lakehouse.demo.schema import CREATE
from lakehouse.errors import LoadRejected, SourceChanged
from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult, load, load_findings, split
from lakehouse.ingest.drift import look
from lakehouse.quality.finding import Finding
from lakehouse.settings import OwnSource, PostgresSource, Settings
from lakehouse.sources import Chunk, open_source
from lakehouse.tables import Column, Drift, LoadPolicy, Rule, Table
from lakehouse.tables.load_check import LoadCheck

MakeTable = Callable[..., Table]
Describing = Callable[[Mapping[str, str]], Settings]
COLUMNS = {"id": "long", "name": "string"}
DESCRIBED = {"id": "bigint", "name": "text"}


@pytest.fixture
def queue(settings: Settings) -> Path:
    """The folder of a source `queue`, whose reader is the tests' own."""
    folder = settings.state / "queue"
    folder.mkdir()
    return folder


@pytest.fixture
def describing(settings: Settings, queue: Path) -> Describing:
    def make(described: Mapping[str, str]) -> Settings:
        options = {"root": queue.name, "described": dict(described)}
        source = OwnSource(kind="assets_tests.ingest.own:PartitionedReader", options=options)
        return settings.model_copy(update={"sources": {"queue": source}})

    return make


@pytest.fixture
def people(make_table: MakeTable) -> Callable[..., Table]:
    def make(drift: Drift = Drift.EVOLVE, ignore: tuple[str, ...] = (), **columns: str) -> Table:
        table = make_table({**COLUMNS, **columns}, required=["id"])
        return replace(table, load=LoadPolicy("queue", {"ignore": list(ignore)} if ignore else {}, 0.5, drift=drift))

    return make


def put(queue: Path, partition: str, *records: Mapping[str, object]) -> None:
    with (queue / partition).open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def asked(queue: Path) -> list[str]:
    return (queue.parent / "asked").read_text().split()


def drift_finding(lake: Lake, table: Table, result: LoadResult) -> Finding | None:
    return next((one for one in load_findings(lake, table, result) if one.rule == LoadCheck.DRIFT.value), None)


def test_a_column_that_the_contract_does_not_name_is_kept_and_said(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1, "name": "Ada"}, {"id": 2, "name": "Bo", "note": "blue", "size": {"cm": 7}})
    table = people()
    result = load(describing({**DESCRIBED, "note": "text"}), lake, table, run_id="1")
    stored = {row["id"]: row["_extra"] for row in rows(lake, table.name)}
    assert stored[1] is None
    assert json.loads(str(stored[2])) == {"note": "blue", "size": '{"cm":7}'}
    finding = drift_finding(lake, table, result)
    assert finding is not None
    assert (finding.passed, finding.blocks, finding.observed) == (False, False, "note is new (text); size is new")
    assert [dict(row) for row in finding.sample] == [
        {"column": "note", "in the contract": "-", "in the source": "text"},
        {"column": "size", "in the contract": "-", "in the source": "there"},
    ]


def test_a_source_that_is_what_the_contract_says_is_said_to_be(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1, "name": "Ada"})
    settings, table = describing(DESCRIBED), people()
    first = drift_finding(lake, table, load(settings, lake, table, run_id="1"))
    assert first is not None
    assert (first.passed, first.observed, first.sample) == (True, "no difference", ())
    # Nothing was read, so nothing was compared: what the check said before still stands.
    assert drift_finding(lake, table, load(settings, lake, table, run_id="2")) is None
    assert asked(queue) == ["columns", "a/0"]


def test_once_the_contract_names_the_column_old_and_new_rows_are_read_alike(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1, "name": "Ada", "size": 12.5})
    load(describing(DESCRIBED), lake, people(), run_id="1")
    put(queue, "a", {"id": 2, "name": "Bo", "size": 13}, {"id": 3, "name": "Cy"})
    table = people(size="decimal(5, 1)")
    result = load(describing({**DESCRIBED, "size": "numeric(5, 1)"}), lake, table, run_id="2")
    assert result.drift == ()
    stored = lake.table(table.name).scan().read_all()  # noqa: F841  (DuckDB reads it by its name)
    # As docs/add-a-table.md says.
    sql = "select id, coalesce(size, (_extra ->> 'size')::decimal(5, 1)) from stored order by id"
    assert [(number, str(size)) for number, size in duckdb.sql(sql).fetchall()] == [
        (1, "12.5"),
        (2, "13.0"),
        (3, "None"),
    ]


def test_columns_that_nobody_wants_are_ignored(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1, "name": "Ada", "note": "blue"})
    table = people(Drift.FREEZE, ("note", "id"))
    # Of a column that the contract names, it is the type that is not compared.
    result = load(describing({"id": "text", "name": "text", "note": "text"}), lake, table, run_id="1")
    assert (result.drift, [row["_extra"] for row in rows(lake, table.name)]) == ((), [None])


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({**DESCRIBED, "note": "text"}, r"note is new \(text\)"),
        ({"id": "bigint"}, "name is gone"),
        ({**DESCRIBED, "id": "numeric(20,0)"}, r"id is numeric\(20,0\), and long in the contract"),
    ],
    ids=["new", "dropped", "widened"],
)
def test_frozen_nothing_is_read_and_the_position_stays(
    describing: Describing, queue: Path, people: Callable[..., Table], described: Mapping[str, str], said: str
) -> None:
    lake, table = Lake.open(describing({})), people(Drift.FREEZE)
    put(queue, "a", {"id": 1, "name": "Ada"})
    with pytest.raises(SourceChanged, match=f"so nothing was read.*{said}.*ignore"):
        load(describing(described), lake, table, run_id="1")
    assert asked(queue) == ["columns"]
    assert (lake.table(table.name).snapshots(), lake.exists(QUARANTINE)) == ((), False)
    assert load(describing(DESCRIBED), lake, table, run_id="2").rows_published == 1


def test_frozen_a_column_that_only_the_rows_tell_of_stops_the_load_too(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1}, {"id": 2, "note": "blue"}, {"id": 3})
    table = people(Drift.FREEZE)
    with pytest.raises(SourceChanged, match="note is new"):
        load(describing({}), lake, table, run_id="1")
    assert lake.table(table.name).snapshots() == ()
    assert asked(queue) == ["columns", "a/0", "a/1"]


def test_quarantined_every_row_is_held_until_the_contract_is_mended(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1, "name": "Ada", "size": 1}, {"id": 2, "name": "Bo"})
    settings, table = describing({**DESCRIBED, "size": "integer"}), people(Drift.QUARANTINE)
    # However many rejects the contract allows.
    table = replace(table, load=replace(table.load, reject_limit=1.0))
    with pytest.raises(LoadRejected, match=r"not what its contract says.*size is new \(integer\).*quarantine"):
        load(settings, lake, table, run_id="1")
    held = {row["source"]: row for row in rows(lake, QUARANTINE)}
    assert lake.table(table.name).snapshots() == ()
    assert {(row["state"], row["broken_rules"]) for row in held.values()} == {("held", '["schema_drift"]')}
    assert json.loads(str(held["a/0"]["payload"])) == {"id": "1", "name": "Ada", "size": "1"}
    mended = people(Drift.QUARANTINE, size="long")
    assert load(settings, lake, mended, run_id="2").rows_published == 2
    assert sorted((row["id"], row["size"]) for row in rows(lake, mended.name)) == [(1, 1), (2, None)]


def test_a_row_that_is_wrong_beside_the_drift_says_both(people: Callable[..., Table]) -> None:
    chunk = Chunk(pa.table({"id": ["x"], "note": ["blue"]}), "a/0")
    made = split(people(Drift.QUARANTINE), chunk, AT, "run-1")
    (row,) = made.rejected.to_pylist()
    assert json.loads(row["broken_rules"]) == ["id_type", "schema_drift"]
    assert "the source is not what the contract says: note is new" in row["error"]


def test_a_changed_type_is_cast_exactly_or_rejected_by_value(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": "1", "name": "Ada"}, {"id": "x", "name": "Bo"})
    table = people()
    result = load(describing({**DESCRIBED, "id": "text"}), lake, table, run_id="1")
    assert (result.rows_published, result.rows_quarantined, dict(result.broken).keys()) == (1, 1, {"id_type"})
    assert result.drift is not None
    assert [str(one) for one in result.drift] == ["id is text, and long in the contract"]


def test_a_dropped_column_is_null_where_it_may_be(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1})
    table = people()
    result = load(describing({"id": "bigint"}), lake, table, run_id="1")
    assert [(row["id"], row["name"], row["_extra"]) for row in rows(lake, table.name)] == [(1, None, None)]
    assert result.drift is not None
    assert [str(one) for one in result.drift] == ["name is gone"]


def test_a_record_may_lack_what_it_has_no_value_for(
    describing: Describing, queue: Path, lake: Lake, people: Callable[..., Table]
) -> None:
    put(queue, "a", {"id": 1})
    assert load(describing({"id": "JSON"}), lake, people(Drift.FREEZE), run_id="1").drift == ()


def test_what_the_source_put_aside_is_stored_and_is_in_the_payload_of_a_reject(people: Callable[..., Table]) -> None:
    table = replace(people(), rules=(Rule("short", "length(name) < 4"),))
    extra = pa.chunked_array(
        [['{"note": "blue", "big": 12345678901234567890.10}', None, '{"size": null}']], pa.string()
    )
    names = pa.table({"id": [1, 2, 3], "name": ["Ada", "Wilhelmina", "Wilhelmina"], "more": [None, 7, None]})
    made = split(table, Chunk(names, "t", extra=extra), AT, "run-1")
    (kept,) = made.accepted.column("_extra").to_pylist()
    assert kept == '{"note": "blue", "big": 12345678901234567890.10}'
    assert [json.loads(payload) for payload in made.rejected.column("payload").to_pylist()] == [
        {"id": "2", "name": "Wilhelmina", "more": "7"},
        {"id": "3", "name": "Wilhelmina"},
    ]
    (first, *_) = split(table, Chunk(names.slice(0, 1), "t", extra=extra.slice(0, 1)), AT, "").accepted.to_pylist()
    assert first["_extra"] == kept
    rejected = split(replace(table, rules=(Rule("none", "false"),)), Chunk(names, "t", extra=extra), AT, "").rejected
    assert json.loads(rejected.column("payload")[0].as_py())["big"] == "12345678901234567890.10"


VALUES = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), st.integers(0, 9)
)
NAMES = st.text(st.characters(codec="ascii", categories=("L", "P", "N")), min_size=1, max_size=5)


@given(
    records=st.lists(st.tuples(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES)), min_size=1, max_size=5)
)
def test_nothing_that_the_contract_does_not_name_is_lost(
    make_table: MakeTable, records: list[tuple[dict[str, object], dict[str, object]]]
) -> None:
    """Whether a source leaves it among the columns, puts it into `extra`, or both: each value is found again."""
    names = {f"in_{name.lower()}" for columns, _ in records for name in columns}
    columns = [{f"in_{name.lower()}": value for name, value in columns.items()} for columns, _ in records]
    texts = {name: [None if (v := row.get(name)) is None else str(v) for row in columns] for name in sorted(names)}
    rows_given = pa.table(
        {"id": pa.array(range(len(records))), **{n: pa.array(v, pa.string()) for n, v in texts.items()}}
    )
    aside = [{f"aside_{name}": value for name, value in others.items()} for _, others in records]
    extra = pa.chunked_array([[json.dumps(one) if one else None for one in aside]], pa.string())
    made = split(make_table({"id": "long"}), Chunk(rows_given, "t", extra=extra), AT, "run-1")
    for kept, place in zip(made.accepted.column("_extra").to_pylist(), range(len(records)), strict=True):
        found = {name: value for name, value in json.loads(kept or "{}").items() if value is not None}
        expected = {name: texts[name][place] for name in texts if texts[name][place] is not None}
        assert found == expected | {name: value for name, value in aside[place].items() if value is not None}


def test_the_extra_column_is_personal_where_others_are(people: Callable[..., Table]) -> None:
    table = people()
    assert table.personal_columns == frozenset()
    personal = replace(table, columns=(*table.columns, Column("email", "string", personal=True)))
    assert personal.personal_columns == {"email", "_extra"}


def test_postgres_says_its_types_and_a_frozen_load_stops(
    sources: Settings, lake: Lake, make_table: MakeTable, database: SecretStr
) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("create table things (id bigint primary key, price numeric(12, 2), at timestamptz not null)")
        connection.execute("insert into things values (1, 12.30, now() - interval '1 minute')")
    table = make_table(
        {"id": "int", "price": "decimal(8, 2)", "at": "timestamptz"},
        source="shop",
        options={"table": "things", "watermark": "at"},
    )
    frozen = replace(table, load=replace(table.load, drift=Drift.FREEZE))
    with pytest.raises(SourceChanged, match=r"id is bigint, and int .*; price is numeric\(12,2\), and decimal"):
        load(sources, lake, frozen, run_id="1")
    columns = (Column("id", "long"), Column("price", "decimal(12, 2)"), frozen.columns[2])
    assert load(sources, lake, replace(frozen, columns=columns), run_id="2").drift == ()
    assert [row["id"] for row in rows(lake, table.name)] == [1]


def test_the_shops_database_is_what_its_contracts_say(settings: Settings, database: SecretStr) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(CREATE)
    shop = settings.model_copy(update={"sources": {"shop": PostgresSource(url=database)}})
    tables = [table for table in read_tables(settings.defs).values() if table.load and table.load.source == "shop"]
    assert len(tables) == 4
    assert {one for table in tables for one in look(open_source(shop, table), table).differences} == set()
