"""Column lineage, read off SQL as dbt compiles it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lakehouse.tables import Column, HistoryPolicy, Table, TableName
from lakehouse.transform.lineage import column_lineage
from lakehouse.transform.manifest import Manifest, Model

BRONZE = ("raw", ("id", "amount", "currency", "at"))


def table(label: str, *columns: str) -> Table:
    return Table(
        TableName.parse(label), "shop", "", tuple(Column(name, "string") for name in columns), Path(f"{label}.yaml")
    )


def node(label: str, sql: str, *parents: str, kind: str = "iceberg") -> Model:
    schema, _, name = label.partition(".")
    return Model(f"model.{label}", schema, name, kind, "", "", sql, tuple(f"model.{one}" for one in parents))


def lineage_of(
    sql: str,
    *columns: str,
    reads: tuple[str, ...] = ("bronze.raw",),
    views: Mapping[str, str] | None = None,
    history: HistoryPolicy | None = None,
) -> dict[str, set[str]]:
    """Lineage of a model `silver.it` over a bronze table and the views."""
    nodes = [node("bronze.raw", "", kind="source"), node("silver.it", sql, *reads)]
    nodes += [node(name, body, "bronze.raw", kind="view") for name, body in (views or {}).items()]
    manifest = Manifest({one.unique_id: one for one in nodes}, {})
    read = replace(table("silver.it", *columns), history=history)
    tables = {one.name: one for one in (table("bronze.raw", *BRONZE[1]), read)}
    found = column_lineage(manifest, tables)[TableName.parse("silver.it")]
    return {column: {f"{origin}.{name}" for origin, name in origins} for column, origins in found.items()}


def test_renamed_computed_and_constant_columns() -> None:
    sql = 'select id as key, amount || currency as worth, 1 as one from "memory"."bronze"."raw"'

    assert lineage_of(sql, "key", "worth", "one") == {
        "key": {"bronze.raw.id"},
        "worth": {"bronze.raw.amount", "bronze.raw.currency"},
        "one": set(),
    }


def test_columns_that_the_strategy_computes_come_from_those_that_it_computes_them_of() -> None:
    sql = 'select id, amount, at as valid_from from "memory"."bronze"."raw"'
    columns = ("version", "id", "amount", "valid_from", "valid_to", "is_current")

    assert lineage_of(sql, *columns, history=HistoryPolicy(("id",), surrogate="version")) == {
        "id": {"bronze.raw.id"},
        "amount": {"bronze.raw.amount"},
        "valid_from": {"bronze.raw.at"},
        "valid_to": {"bronze.raw.at"},
        "is_current": {"bronze.raw.at"},
        "version": {"bronze.raw.id", "bronze.raw.at"},
    }
    assert lineage_of("not sql at all", *columns, history=HistoryPolicy(("id",))) == {}


def test_a_star_is_known_from_the_contract() -> None:
    assert lineage_of('select * exclude (at) from "memory"."bronze"."raw"', "id", "amount", "currency") == {
        "id": {"bronze.raw.id"},
        "amount": {"bronze.raw.amount"},
        "currency": {"bronze.raw.currency"},
    }


def test_views_are_seen_through() -> None:
    views = {"staging.tidy": 'select id, upper(currency) as unit from "memory"."bronze"."raw"'}
    sql = 'with t as (select * from "memory"."staging"."tidy") select t.id, t.unit as currency from t'

    assert lineage_of(sql, "id", "currency", reads=("staging.tidy",), views=views) == {
        "id": {"bronze.raw.id"},
        "currency": {"bronze.raw.currency"},
    }


def test_duckdbs_own_sql_is_understood() -> None:
    sql = """
        select a.id, b.amount, count(*) filter (where a.at > b.at) as n, row(a.id, a.amount) is distinct from null as x
        from "memory"."bronze"."raw" as a
        asof left join "memory"."bronze"."raw" as b on a.currency = b.currency and a.at >= b.at
        group by all
        qualify row_number() over (partition by a.id order by b.amount desc) = 1
    """

    found = lineage_of(sql, "id", "amount", "x")

    assert found["id"] == {"bronze.raw.id"}
    assert found["amount"] == {"bronze.raw.amount"}
    assert found["x"] == {"bronze.raw.id", "bronze.raw.amount"}


def test_sql_that_cannot_be_followed_has_no_lineage_and_breaks_nothing() -> None:
    assert lineage_of("select from where (", "id") == {}
    assert lineage_of("create table x as select 1", "id") == {}


def test_what_was_found_is_remembered_until_the_sql_changes(tmp_path: Path) -> None:
    memory = tmp_path / "lineage.json"
    declared = {one.name: one for one in (table("bronze.raw", *BRONZE[1]), table("silver.it", "key"))}

    def run(sql: str) -> frozenset[tuple[TableName, str]]:
        nodes = [node("bronze.raw", "", kind="source"), node("silver.it", sql, "bronze.raw")]
        manifest = Manifest({one.unique_id: one for one in nodes}, {})
        return column_lineage(manifest, declared, memory)[TableName.parse("silver.it")]["key"]

    bronze = TableName.parse("bronze.raw")
    by_id = "select id as key from bronze.raw"
    assert run(by_id) == {(bronze, "id")}
    kept = json.loads(memory.read_text())
    (key,) = kept
    memory.write_text(json.dumps({key: {"key": [["bronze.raw", "remembered"]]}}))
    assert run(by_id) == {(bronze, "remembered")}
    assert run("select amount as key from bronze.raw") == {(bronze, "amount")}
    memory.write_text("{ half")
    assert run(by_id) == {(bronze, "id")}
