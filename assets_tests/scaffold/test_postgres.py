from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.errors import SourceChanged, SourceRefused, SourceUnreachable
from lakehouse.ingest import LoadResult
from lakehouse.scaffold import postgres, ways
from lakehouse.scaffold.ways import find_watermark
from lakehouse.scaffold.write import Plan
from lakehouse.sources.postgres.catalog import CatalogColumn
from lakehouse.tables import Table

Propose = Callable[..., Plan]

EVERYTHING = """
create type mood as enum ('happy', 'sad');
create domain positive as integer check (value > 0) not null;
create table everything (
    id bigint primary key, small smallint, amount numeric(12, 2) not null, free numeric, huge numeric(30, 4),
    share real, ratio double precision, flag boolean, name text, code char(3), born date, at time, local timestamp,
    feeling mood, ref uuid, doc jsonb, tags text[], raw bytea, span interval, place positive,
    "Odd Name" text, "order" integer, updated_at timestamptz not null default now());
comment on table everything is 'One of each';
comment on column everything.amount is 'What was paid: in EUR';
create index on everything (updated_at);
insert into everything
select n, n, n + 0.25, n * 1.125, n * 1e20, n / 2.0, n / 3.0, n % 2 = 0, 'n' || n, 'abc', date '2026-01-01' + n,
       time '10:00:00', timestamp '2026-01-01 10:00:00', case when n % 2 = 0 then 'happy' else 'sad' end::mood,
       gen_random_uuid(), '{"a": 1}', array['x', 'y'], 'z'::bytea, interval '1 day', n, 'odd', -n,
       now() - interval '1 hour'
from generate_series(1, 60) n
"""


@pytest.fixture
def url(database: SecretStr) -> str:
    return database.get_secret_value()


def execute(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)  # type: ignore[call-overload]  # the statements of these tests


def test_a_table_of_every_type_is_declared_and_loads_without_a_reject(
    url: str,
    propose: Propose,
    declared: Callable[[], dict[str, Table]],
    load_all: Callable[[], dict[str, LoadResult]],
) -> None:
    execute(url, EVERYTHING)
    propose(url, name="erp").write()
    table = declared()["bronze.everything"]
    assert {column.name: column.type for column in table.columns} == {
        "id": "long",
        "small": "int",
        "amount": "decimal(12, 2)",
        "free": "decimal(38, 3)",
        "huge": "decimal(30, 4)",
        "share": "float",
        "ratio": "double",
        "flag": "boolean",
        "name": "string",
        "code": "string",
        "born": "date",
        "at": "time",
        "local": "timestamp",
        "feeling": "string",
        "ref": "string",
        "doc": "string",
        "tags": "string",
        "raw": "binary",
        "span": "string",
        "place": "int",
        "Odd Name": "string",
        "order": "int",
        "updated_at": "timestamptz",
    }
    assert {column.name for column in table.columns if column.required} == {"id", "amount", "place", "updated_at"}
    assert (table.description, table.primary_key) == ("One of each", ("id",))
    assert table.column("amount").description == "What was paid: in EUR"
    assert table.load is not None
    assert (table.load.source, dict(table.load.options)) == (
        "erp",
        {"table": "public.everything", "watermark": "updated_at"},
    )
    assert any("'happy', 'sad'" in rule.predicate for rule in table.rules if rule.column == "feeling")
    assert "order_minimum" not in {rule.name for rule in table.rules}
    result = load_all()["bronze.everything"]
    assert (result.rows_published, result.rows_quarantined) == (60, 0)


def test_a_key_of_several_columns_keeps_its_order(
    url: str, propose: Propose, declared: Callable[[], dict[str, Table]]
) -> None:
    execute(url, "create table t (a int, b text, c date, updated_at timestamptz not null, primary key (c, a))")
    propose(url).write()
    assert declared()["bronze.t"].primary_key == ("c", "a")


def column(name: str, base: str = "timestamptz", *, nullable: bool = False) -> CatalogColumn:
    return CatalogColumn(name, base, nullable, base, "D")


@pytest.mark.parametrize(
    ("found", "indexed", "expected", "changes"),
    [
        ([column("created_at"), column("updated_at")], set(), "updated_at", True),
        ([column("created_at"), column("name", "text")], set(), "created_at", False),
        ([column("updated_at"), column("lastModified")], {"lastModified"}, "lastModified", True),
        ([column("modified_at", nullable=True), column("updated_at")], set(), "updated_at", True),
        ([column("updated_at", nullable=True), column("created_at")], {"created_at"}, "updated_at", True),
        ([column("updated_at", "date")], set(), None, None),
        ([column("departure")], set(), None, None),
    ],
)
def test_the_watermark_is_the_column_whose_name_says_that_it_changes(
    found: list[CatalogColumn], indexed: set[str], expected: str | None, changes: bool | None
) -> None:
    watermark = find_watermark(found, indexed)
    assert (watermark and watermark.column.name, watermark and watermark.changes) == (expected, changes)


def test_tables_that_nothing_can_be_read_by_are_left_out_with_what_to_do(url: str, propose: Propose) -> None:
    execute(url, "create table airlines (carrier text, name text)")
    execute(url, "create table flights (id int, departure timestamptz)")
    execute(url, "create table orders (id int, updated_at timestamptz not null)")
    execute(url, "create view busy as select carrier from airlines")
    found = propose(url)
    assert [str(one.name) for one in found.added] == ["bronze.orders"]
    left = {refusal.label: refusal.remedy for refusal in found.survey.refusals}
    assert set(left) == {"public.airlines", "public.flights", "public.busy"}
    assert "Give it a key, or a column updated_at" in left["public.airlines"]
    assert "--tables flights --watermark departure" in left["public.flights"]
    named = propose(url, tables=("flights",), watermark="departure")
    assert [one.load.options["watermark"] for one in named.added] == ["departure"]
    wrong = propose(url, tables=("flights",), watermark="arrival")
    assert "its timestamps: departure" in wrong.survey.refusals[0].reason


def read_by(plan: Plan) -> dict[str, object]:
    return {one.name.table: one.load.options["watermark"] for one in plan.added}


def test_a_table_with_a_key_and_no_watermark_is_read_by_xmin_or_a_small_one_in_full(
    url: str,
    propose: Propose,
    declared: Callable[[], dict[str, Table]],
    load_all: Callable[[], dict[str, LoadResult]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ways, "SMALL_ROWS", 2)
    execute(url, "create table airlines (carrier text primary key, name text)")
    execute(url, "insert into airlines values ('AA', 'American'), ('B6', 'JetBlue')")
    execute(url, "create table flights (id int primary key, departure timestamptz)")
    execute(url, "insert into flights select n, now() from generate_series(1, 3) n")
    # How large it will be nobody knows: nothing is concluded from it.
    execute(url, "create table planned (id int primary key)")
    found = propose(url)
    assert read_by(found) == {"airlines": "full", "flights": "xmin", "planned": "xmin"}
    notes = {one.name.table: " ".join(one.notes) for one in found.added}
    assert "read in full, for it is small" in notes["airlines"]
    assert "if one of departure does, say so with --watermark" in notes["flights"]
    found.write()
    for name, why in (
        ("airlines", "# No column says when a row changed, and the table is small"),
        ("flights", "(xmin)"),
    ):
        comment, at, load = declared()[f"bronze.{name}"].file.read_text().rpartition("customProperties:\n")
        assert at
        assert why in "".join(line for line in comment.splitlines(keepends=True)[-3:] if line.startswith("#"))
        assert str(read_by(found)[name]) in load

    assert {name: result.rows_published for name, result in load_all().items()} == {
        "bronze.airlines": 2,
        "bronze.flights": 3,
        "bronze.planned": 0,
    }
    execute(url, "update flights set departure = null where id = 1")
    execute(url, "delete from airlines where carrier = 'AA'")
    again = load_all()
    assert (again["bronze.flights"].rows_published, again["bronze.airlines"].rows_deleted) == (1, 1)


def test_a_way_of_reading_can_be_named(url: str, propose: Propose) -> None:
    execute(url, "create table orders (id int primary key, updated_at timestamptz not null)")
    execute(url, "create table days (id int, day date, primary key (id, day)) partition by range (day)")
    execute(url, "create table bare (id int)")
    assert read_by(propose(url, tables=("orders",), watermark="xmin")) == {"orders": "xmin"}
    assert read_by(propose(url, tables=("orders", "days"), watermark="full")) == {"orders": "full", "days": "full"}
    by_xmin = propose(url, tables=("days", "bare"), watermark="xmin")
    left = {refusal.label: refusal.reason for refusal in by_xmin.survey.refusals}
    assert by_xmin.added == ()
    assert "only plain tables" in left["public.days"]
    assert "no primary key" in left["public.bare"]
    (large,) = propose(url, tables=("days",)).survey.refusals
    assert "no plain table" in large.reason


def test_what_a_reader_must_know_is_noted(url: str, propose: Propose) -> None:
    execute(url, "create table t (email text, free numeric, created_at timestamptz)")
    execute(url, "insert into t values ('a@b', 'NaN', null), ('c@d', 1, '2999-01-01')")
    (one,) = propose(url).added
    notes = "\n".join(one.notes)
    for expected in (
        "not read again",
        "created_at has no index",
        "1 rows have no created_at",
        "into the future",
        "nothing identifies a row",
        "taken as personal, masked in previews: email",
    ):
        assert expected in notes
    assert {c.name: c.type for c in one.columns}["free"] == "string"


def test_of_a_large_table_a_share_is_looked_at_and_less_is_concluded(
    url: str, propose: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(url, "create table t (id int primary key, kind text not null, updated_at timestamptz not null)")
    execute(url, "insert into t select n, 'k' || n % 2, now() from generate_series(1, 20000) n; analyze t")
    monkeypatch.setattr(postgres, "SAMPLE_ROWS", 1000)
    (one,) = propose(url).added
    assert 0 < one.rows <= 1000
    assert not one.complete
    assert "kind" not in one.limits
    assert any("rows only" in note for note in one.notes)


def test_a_view_is_read_from_its_begin(url: str, propose: Propose, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        url, "create view v as select n as id, timestamptz '2026-01-01' as updated_at from generate_series(1, 50) n"
    )
    monkeypatch.setattr(postgres, "SAMPLE_ROWS", 20)
    (one,) = propose(url).added
    assert (one.rows, one.complete, one.primary_key) == (20, False, ())


def test_an_empty_table_is_declared_by_its_catalogue_alone(
    url: str, propose: Propose, load_all: Callable[[], dict[str, LoadResult]]
) -> None:
    execute(url, "create table t (id int primary key, free numeric, updated_at timestamptz not null)")
    found = propose(url)
    assert [column.type for column in found.added[0].columns] == ["int", "decimal(38, 9)", "timestamptz"]
    assert not found.added[0].limits
    found.write()
    assert load_all()["bronze.t"].rows_read == 0


def test_tables_of_another_schema(url: str, propose: Propose) -> None:
    execute(url, 'create schema erp; create table erp."Items" (id int primary key, updated_at timestamptz not null)')
    (one,) = propose(url, schema="erp", prefix="erp_").added
    assert (str(one.name), one.load.options["table"]) == ("bronze.erp_items", "erp.Items")


def test_what_cannot_be_read_is_named_without_the_password(url: str, propose: Propose) -> None:
    execute(url, "create table there (id int primary key, updated_at timestamptz)")
    with pytest.raises(SourceChanged, match=r"no table public\.absent") as missing:
        propose(url, tables=("absent",))
    assert "public.there" in str(missing.value)
    with pytest.raises(SourceChanged, match="no tables in schema 'nowhere'"):
        propose(url, schema="nowhere")
    with pytest.raises(SourceUnreachable) as gone:
        propose("postgresql://me:s3cret@127.0.0.1:1/db")
    with pytest.raises(SourceRefused) as refused:
        propose(url.replace("postgres@", "nobody:s3cret@"))
    assert "s3cret" not in f"{gone.value}{refused.value}"


def test_dates_outside_the_lake_are_counted(url: str, propose: Propose) -> None:
    execute(url, "create table t (id int primary key, day date, updated_at timestamptz not null)")
    execute(url, "insert into t values (1, 'infinity', now()), (2, '2026-01-01', now())")
    (one,) = propose(url).added
    assert any("1 values of day do not fit date" in note for note in one.notes)
