"""Each mistake in a contract is named with file, line, what was found and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assets_tests.contracts.refused import failure
from lakehouse.contracts import read_tables

SILVER = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.orders
version: 1.0.0
description:
  purpose: Orders
team:
  members:
    - {username: team@example.com}
schema:
  - name: orders
    properties:
      - name: order_id
        logicalType: integer
        primaryKey: true
      - name: order_date
        logicalType: date
        required: true
      - name: note
        logicalType: string
    quality:
      - name: dated
        type: custom
        engine: lakehouse
        implementation: {row: order_id > 0}
slaProperties:
  - {property: latency, value: 24, unit: h}
customProperties:
  - {property: window, value: {column: order_date, start: 2026-01-01}}
  - {property: strategy, value: overwrite}
"""
BRONZE = SILVER.replace(
    "  - {property: strategy, value: overwrite}\n", "  - {property: load, value: {source: shop, table: orders}}\n"
)
COLUMNS = SILVER[SILVER.index("    properties:") : SILVER.index("    quality:")]


WINDOW = "  - {property: window, value: {column: order_date, start: 2026-01-01}}\n"
LAST = "  - {property: strategy, value: overwrite}\n"


def more_property(name: str, value: str) -> str:
    return f"{LAST}  - {{property: {name}, value: {value}}}\n"


def line_of(text: str, fragment: str) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if fragment in line]
    assert lines, f"{fragment!r} is not in the text"
    return lines[0]


def test_the_text_that_the_mistakes_are_made_in_is_right(tmp_path: Path) -> None:
    for place, text in {"shop/silver/orders.yaml": SILVER, "shop/bronze/orders.yaml": BRONZE}.items():
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text)
    assert [str(name) for name in read_tables([tmp_path])] == ["bronze.orders", "silver.orders"]


# What is replaced, by what, a piece of the line that the error must name, and words of the message.
MISTAKES = {
    "yaml": ("version: 1.0.0", "version: [1.0.0", "version:", ["invalid YAML"]),
    "tab": ("kind: Data", "\tkind: Data", "kind:", ["invalid YAML"]),
    "key twice": ("version: 1.0.0", "version: 1.0.0\nid: other", "id: other", ["'id' is stated twice"]),
    "tag": ("purpose: Orders", "purpose: !!python/name:os.system ''", "purpose", ["YAML tag"]),
    "merge": ("  purpose: Orders", "  <<: {purpose: Orders}", "<<:", ["a key must be a word"]),
    "loop": ("description:\n", "tags: &t [*t]\ndescription:\n", "tags:", ["holds itself"]),
    "not a mapping": (SILVER, "- 1\n", "- 1", ["a contract is a mapping"]),
    "api version": ("v3.1.0", "v3.0.2", "apiVersion", ["v3.0.2", "v3.1.0"]),
    "no api version": ("apiVersion: v3.1.0\n", "", "kind:", ["apiVersion must be v3.1.0", "found nothing"]),
    "kind": ("DataContract", "Contract", "kind:", ["kind must be DataContract"]),
    "no id": ("id: shop.silver.orders\n", "", "apiVersion", ["missing id"]),
    "no version": ("version: 1.0.0\n", "", "apiVersion", ["missing version"]),
    "wrong type": ("primaryKey: true", "primaryKey: sure", "primaryKey", ["primaryKey", "boolean", "'sure'"]),
    "number for text": ("version: 1.0.0", "version: 1.0", "version", ["wrong type of version", "string", "1.0"]),
    "wrong type in a union": ("{username: team@example.com}", "{username: 7}", "username", ["username", "7"]),
    "list for mapping": ("  purpose: Orders", "  - Orders", "description:", ["wrong type of description"]),
    "unknown key": ("version: 1.0.0", "versoin: 1.0.0", "versoin", ["unknown key 'versoin'", "'version'"]),
    "unknown key in a column": ("logicalType: date", "logicaltype: date", "logicaltype", ["'logicalType'"]),
    "unknown key of a member": ("{username:", "{usrname:", "usrname", ["'usrname'", "'username'"]),
    "unknown property": ("property: strategy", "property: stratgy", "stratgy", ["'stratgy'", "'strategy'"]),
    "property twice": (LAST, more_property("window", "1"), "value: 1", ["stated twice"]),
    "logical type": ("logicalType: date", "logicalType: dat", ": dat\n", ["logical type 'dat'", "'date'"]),
    "nested type": ("logicalType: date", "logicalType: object", "object", ["unknown logical type 'object'"]),
    "physical type": ("logicalType: string", "physicalType: strin", "strin\n", ["physical type 'strin'", "'string'"]),
    "contradicting types": (
        "logicalType: string", "logicalType: string\n        physicalType: long", "Type: long", ["string", "long"],
    ),
    "decimal": ("logicalType: string", "physicalType: 'decimal(40, 2)'", "decimal", ["decimal(40, 2)", "1 to 38"]),
    "no type": ("        logicalType: string\n", "", "name: note", ["has no type"]),
    "column twice": ("name: note", "name: Order_ID", "Order_ID", ["'Order_ID' is named twice", "orders.yaml:13"]),
    "reserved": ("name: note", "name: _run_key", "_run_key", ["'_run_key'", "reserved"]),
    "no name": ("- name: note\n        ", "- ", "- logicalType: string", ["without a name"]),
    "no columns": (COLUMNS, "    properties: []\n", "properties: []", ["no columns"]),
    "no primary key": ("        primaryKey: true\n", "", "- name: orders", ["missing primary key"]),
    "key position": (
        "required: true", "required: true\n        primaryKeyPosition: 2", "primaryKeyPosition", ["order_date"],
    ),
    "window column": ("column: order_date", "column: order_day", "order_day", ["column 'order_day'", "'order_date'"]),
    "window type": ("column: order_date", "column: order_id", "column: order_id", ["a required long"]),
    "window of NULLs": ("        required: true\n", "", "column: order_date", ["an optional date"]),
    "window key": ("start: 2026-01-01", "begin: 2026-01-01", "begin", ["unknown key of window 'begin'"]),
    "window start": (", start: 2026-01-01", "", "property: window", ["no first day", "None"]),
    "window without overwrite": (
        LAST, "", "customProperties:", ["strategy: overwrite"],
    ),
    "overwrite without window": (
        WINDOW, "", "overwrite", ["without a window"],
    ),
    "strategy": ("value: overwrite", "value: overwrit", "overwrit}", ["strategy 'overwrit'", "'overwrite'"]),
    "partition column": (
        LAST, more_property("partition", "['bucket[4](ordr)']"),
        "bucket", ["column 'ordr'"],
    ),
    "partition form": (
        LAST, more_property("partition", "['bucket(order_id)']"),
        "bucket", ["'bucket(order_id)'", "bucket[16](column)"],
    ),
    "partition type": (
        LAST, more_property("partition", "['hour(order_date)']"),
        "hour", ["hour does not partition", "date"],
    ),
    "partition twice": (
        LAST, more_property("partition", "['day(order_date)']"),
        "partition", ["stated twice"],
    ),
    "sort column": (
        LAST, more_property("sort", "[order_id, nte]"),
        "sort", ["column 'nte'", "'note'"],
    ),
    "sort form": (
        LAST, more_property("sort", "order_id"),
        "sort", ["sort is a list"],
    ),
    "upkeep": (
        LAST, more_property("upkeep", "{targetFileMB: 1}"),
        "upkeep", ["'targetFileMB'", "'targetFileMb'"],
    ),
    "upkeep number": (
        LAST, more_property("upkeep", "{targetFileMb: 0}"),
        "upkeep", ["targetFileMb is a whole number above 0"],
    ),
    "table name": ("- name: orders", "- name: order", "- name: order\n", ["differs", "expected orders", "found order"]),
    "two tables": ("slaProperties", "  - name: more\nslaProperties", "schema:", ["one table", "found 2"]),
    "description": ("description:\n  purpose: Orders\n", "", "apiVersion", ["missing description"]),
    "blank description": ("purpose: Orders", "purpose: ' '", "description", ["missing description"]),
    "owner": ("team:\n  members:\n    - {username: team@example.com}\n", "", "apiVersion", ["missing owner"]),
    "nameless owner": ("{username: team@example.com}", "{name: Team}", "team:", ["missing owner"]),
    "domain": ("version: 1.0.0", "version: 1.0.0\ndomain: sales", "domain", ["expected shop"]),
    "load": (
        LAST, more_property("load", "{source: shop}"),
        "load", ["load on a silver table"],
    ),
    "reject limit": (
        LAST, more_property("rejectLimit", "0.1"),
        "rejectLimit", ["rejectLimit on a silver table"],
    ),
    "drift": (
        LAST, more_property("drift", "freeze"),
        "drift", ["drift on a silver table"],
    ),
    "classification": (
        "logicalType: string", "logicalType: string\n        classification: persnal", "persnal", ["'personal'"],
    ),
    "no effect": (
        "logicalType: string", "logicalType: string\n        physicalName: remark", "physicalName", ["no effect"],
    ),
    "relationship table": (
        "logicalType: string", "logicalType: string\n        relationships:\n          - to: ordrs.order_id",
        "to:", ["table 'silver.ordrs'", "'silver.orders'"],
    ),
    "relationship column": (
        "logicalType: string", "logicalType: string\n        relationships:\n          - to: orders.order_idd",
        "to:", ["column of silver.orders 'order_idd'", "'order_id'"],
    ),
    "relationship text": (
        "logicalType: string", "logicalType: string\n        relationships:\n          - to: order_id",
        "to:", ["'order_id' is not a reference"],
    ),
    "relationship end": (
        "logicalType: string", "logicalType: string\n        relationships:\n          - {type: foreignKey}",
        "foreignKey", ["two ends"],
    ),
    "sql": ("row: order_id > 0", "row: order_id > (0", "implementation", ["does not parse", "order_id > (0"]),
    "sql of nobody": ("row: order_id > 0", "row: order_id > > 0", "implementation", ["DuckDB refuses", "> > 0"]),
    "sql function": ("row: order_id > 0", "row: lenght(note) > 0", "implementation", ["lenght"]),
    "sql type": ("row: order_id > 0", "row: order_id + 1", "implementation", ["true or false", "BIGINT"]),
    "sql column": ("row: order_id > 0", "row: ordr_id > 0", "implementation", ["column 'ordr_id'", "'order_id'"]),
    "sql of another table": ("row: order_id > 0", "row: x.order_id > 0", "implementation", ["'x.order_id'"]),
    "query as a row rule": ("row: order_id > 0", "row: select 1", "implementation", ["one SQL expression"]),
    "subquery": ("row: order_id > 0", "row: order_id > (select 1)", "implementation", ["sees one row"]),
    "aggregate": ("row: order_id > 0", "row: count(order_id) > 0", "implementation", ["sees one row"]),
    "two statements": ("row: order_id > 0", "row: order_id; order_id", "implementation", ["without `;`"]),
    "comment": ("row: order_id > 0", "row: order_id > 0 -- yes", "implementation", ["comment"]),
    "latency": ("unit: h", "unit: month", "latency", ["a number above 0 with a unit", "24 month"]),
    "latency twice": (
        "unit: h}", "unit: h}\n  - {property: latency, value: 2, unit: d}", "value: 2,", ["latency is stated twice"],
    ),
    "rule twice": (
        "name: dated", "name: order_id_not_null", "name: order_id_not_null", ["order_id_not_null", "orders.yaml:13"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, mistake: str) -> None:
    old, new, fragment, words = MISTAKES[mistake]
    assert old in SILVER
    text = SILVER.replace(old, new, 1)
    error = failure(tmp_path, {"shop/silver/orders.yaml": text})
    line = line_of(text + "\n", fragment.rstrip("\n")) if "\n" not in fragment else None
    if line is None:
        line = next(n for n, one in enumerate(text.splitlines(keepends=True), 1) if one.endswith(fragment))
    path = tmp_path / "shop/silver/orders.yaml"
    named = re.match(rf"{re.escape(str(path))}:(\d+): ", error.what)
    assert named, error.what
    assert int(named[1]) in ({line, line - 1, line + 1} if mistake in {"yaml", "rule twice"} else {line}), str(error)
    assert error.remedy
    for word in words:
        assert word in str(error)


def test_bronze_without_load(tmp_path: Path) -> None:
    text = BRONZE.replace("  - {property: load, value: {source: shop, table: orders}}\n", "")
    error = failure(tmp_path, {"shop/bronze/orders.yaml": text})
    assert error.what.endswith(
        f"orders.yaml:{line_of(text, 'customProperties')}: customProperties: a bronze table without load"
    )


def test_load_without_source(tmp_path: Path) -> None:
    text = BRONZE.replace("source: shop, ", "")
    error = failure(tmp_path, {"shop/bronze/orders.yaml": text})
    assert error.what.endswith(
        f"orders.yaml:{line_of(text, 'property: load')}: customProperties[1].value: load names no source"
    )


@pytest.mark.parametrize("limit", ["1.5", "-0.1", "true", "many"])
def test_a_reject_limit_is_a_share(tmp_path: Path, limit: str) -> None:
    text = BRONZE + f"  - {{property: rejectLimit, value: {limit}}}\n"
    error = failure(tmp_path, {"shop/bronze/orders.yaml": text})
    assert (
        f":{line_of(text, 'rejectLimit')}: customProperties[2].value: rejectLimit is a share from 0 to 1" in error.what
    )


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("{share: 2}", "rejectLimit is a share from 0 to 1"),
        ("{rows: -1}", "rows is a whole number from 0"),
        ("{rows: 1.5}", "rows is a whole number from 0"),
        ("{}", "rows is a whole number from 0"),
        ("{row: 5}", "row"),
    ],
)
def test_a_reject_limit_may_be_rows_too(tmp_path: Path, limit: str, said: str) -> None:
    text = BRONZE + f"  - {{property: rejectLimit, value: {limit}}}\n"
    assert said in failure(tmp_path, {"shop/bronze/orders.yaml": text}).what


def test_strategy_on_a_bronze_table(tmp_path: Path) -> None:
    text = BRONZE + "  - {property: strategy, value: append}\n"
    error = failure(tmp_path, {"shop/bronze/orders.yaml": text})
    assert f":{line_of(text, 'strategy')}: customProperties[2].value: strategy on a bronze table" in error.what


def test_unique_in_bronze(tmp_path: Path) -> None:
    text = BRONZE.replace("required: true", "required: true\n        unique: true")
    error = failure(tmp_path, {"shop/bronze/orders.yaml": text})
    assert (
        f":{line_of(text, 'unique')}: schema[0].properties[1].unique: no column of a bronze table is unique"
        in error.what
    )


def test_the_error_of_a_query_that_names_an_unknown_column_or_table(tmp_path: Path) -> None:
    for query, word in {
        "select count(*) from {object} where nte is null": "nte",
        "select count(*) from {object} join silver.custmers using (order_id)": "silver.custmers",
    }.items():
        entry = f"      - {{name: q, type: sql, mustBe: 0, query: '{query}'}}\n"
        text = SILVER.replace("    quality:\n", f"    quality:\n{entry}")
        error = failure(tmp_path, {"shop/silver/orders.yaml": text})
        assert f":{line_of(text, 'name: q,')}: " in error.what
        assert word in str(error)
