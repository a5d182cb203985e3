"""`history`: which columns of a table with the strategy `scd2` tell its versions, and by what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.errors import ContractError
from lakehouse.tables import HistoryPolicy, MergePolicy, Strategy, Table

Declare = Callable[..., Table]
Properties = Sequence[dict[str, Any]]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "add-a-table.md").read_text("utf-8")
VERSION = {"name": "customer_key", "logicalType": "string", "primaryKey": True}
ID = {"name": "customer_id", "logicalType": "integer", "required": True}
SEGMENT = {"name": "segment", "logicalType": "string"}
PHONE = {"name": "phone", "logicalType": "string"}
SCORE = {"name": "score", "logicalType": "number", "required": True}
LOCAL = {"name": "born_on", "logicalType": "date", "required": True}
FROM = {"name": "valid_from", "logicalType": "timestamp", "required": True}
TO = {"name": "valid_to", "logicalType": "timestamp"}
CURRENT = {"name": "is_current", "logicalType": "boolean", "required": True}
COLUMNS = [VERSION, ID, SEGMENT, PHONE, SCORE, LOCAL, FROM, TO, CURRENT]
KEY = {"key": ["customer_id"]}


@pytest.fixture(scope="module")
def state(declare: Declare) -> Callable[..., Table]:
    """state({...}): a table of versions, with what its `history` says besides its key."""

    def stated(history: object, columns: Properties = COLUMNS, strategy: str = "scd2") -> Table:
        says = {**KEY, **history} if isinstance(history, dict) else history
        return declare(columns, custom={"strategy": strategy, "history": says}, name="gold.dim_customer")

    return stated


def without(*names: str) -> Properties:
    return [column for column in COLUMNS if column["name"] not in names]


def changed(name: str, /, **keys: object) -> Properties:
    return [{**column, **keys} if column["name"] == name else column for column in COLUMNS]


def test_a_key_is_enough(state: Callable[..., Table]) -> None:
    table = state({})

    assert (table.strategy, table.merge) == (Strategy.SCD2, None)
    assert table.history == HistoryPolicy(("customer_id",), surrogate="customer_key")
    assert (table.history.complete, table.history.late, table.history.current) == (True, timedelta(30), "is_current")


def test_all_that_a_history_may_say(state: Callable[..., Table]) -> None:
    columns = [
        {"name": "hash", "logicalType": "string"},
        {"name": "id", "logicalType": "string", "required": True},
        {"name": "region", "logicalType": "integer", "required": True},
        SEGMENT,
        PHONE,
        {"name": "since", "logicalType": "date", "required": True, "primaryKey": True},
        {"name": "until", "logicalType": "date"},
        {"name": "holds", "logicalType": "boolean"},
    ]
    said = {
        "key": ["region", "id"],
        "tracked": ["phone"],
        "deleted": "is_deleted",
        "complete": False,
        "validFrom": "since",
        "validTo": "until",
        "current": "holds",
        "surrogate": "hash",
        "lateDays": 0,
    }

    assert state(said, columns).history == HistoryPolicy(
        ("region", "id"), ("phone",), "is_deleted", False, "since", "until", "holds", "hash", timedelta(0)
    )


@pytest.mark.parametrize(
    ("columns", "said", "surrogate"),
    [
        (COLUMNS, {}, "customer_key"),
        (COLUMNS, {"surrogate": None}, None),
        (COLUMNS, {"surrogate": "phone"}, "phone"),
        (changed("customer_key", logicalType="integer"), {}, None),
        (changed("valid_from", primaryKey=True), {}, None),
        (changed("valid_from", primaryKey=True), {"key": ["customer_key"]}, None),
    ],
    ids=["text", "none", "another", "a number", "two columns", "the key's"],
)  # fmt: skip
def test_the_surrogate_is_the_primary_key_where_that_can_be_computed(
    state: Callable[..., Table], columns: Properties, said: dict[str, object], surrogate: str | None
) -> None:
    history = state(said, columns).history

    assert history is not None
    assert history.surrogate == surrogate


@pytest.mark.parametrize(
    ("columns", "said", "current"),
    [
        (COLUMNS, {"current": None}, None),
        (without("is_current"), {}, None),
        (changed("is_current", name="now"), {}, None),
        (changed("is_current", name="now"), {"current": "now"}, "now"),
        (changed("is_current", logicalType="string"), {"current": None}, None),
    ],
)
def test_the_column_that_tells_the_version_that_holds(
    state: Callable[..., Table], columns: Properties, said: dict[str, object], current: str | None
) -> None:
    history = state(said, columns).history

    assert history is not None
    assert history.current == current


@pytest.mark.parametrize(
    "moment", [{"logicalType": "date"}, {"physicalType": "timestamp"}, {"logicalType": "timestamp"}]
)
def test_validity_of_days_and_of_moments(state: Callable[..., Table], moment: dict[str, object]) -> None:
    columns = [
        {"name": "valid_from", "required": True, **moment},
        {"name": "valid_to", **moment},
        *without("valid_from", "valid_to"),
    ]

    assert state({}, columns).history == HistoryPolicy(("customer_id",), surrogate="customer_key")


# What `history` says, the columns, the place below its value, and words of the message.
BAD: Mapping[str, tuple[object, Properties, str, list[str]]] = {
    "no mapping": ("customer_id", COLUMNS, "", ["history is a mapping", "'customer_id'"]),
    "unknown key": ({"valid_from": "valid_from"}, COLUMNS, ".valid_from", ["unknown key of history", "'validFrom'"]),
    "key no list": ({"key": "customer_id"}, COLUMNS, ".key", ["key is a list of columns"]),
    "key unknown": ({"key": ["id"]}, COLUMNS, ".key[0]", ["unknown column 'id'"]),
    "key optional": ({"key": ["segment"]}, COLUMNS, ".key[0]", ["found an optional string"]),
    "key double": ({"key": ["score"]}, COLUMNS, ".key[0]", ["found a required double"]),
    "no beginning": ({}, without("valid_from"), "", ["no column valid_from", "`validFrom`"]),
    "no end": ({}, without("valid_to"), "", ["no column valid_to", "`validTo`"]),
    "beginning unknown": ({"validFrom": "since"}, COLUMNS, ".validFrom", ["unknown column 'since'"]),
    "beginning optional": ({}, changed("valid_from", required=False), ".validFrom", ["found an optional"]),
    "beginning text": ({"validFrom": "segment"}, COLUMNS, ".validFrom", ["segment cannot be the beginning"]),
    "beginning a time": ({}, changed("valid_from", logicalType="time"), ".validFrom", ["found a required time."]),
    "end required": ({}, changed("valid_to", required=True), ".validTo", ["valid_to", "NULL in the version"]),
    "end another type": ({}, changed("valid_to", logicalType="date"), ".validTo", ["expected an optional timestamptz"]),
    "end without a zone": ({}, changed("valid_to", physicalType="timestamp"), ".validTo", ["an optional timestamp."]),
    "end as the beginning": ({"validTo": "valid_from"}, COLUMNS, ".validTo", ["valid_from cannot be the end"]),
    "current no boolean": ({}, changed("is_current", logicalType="string"), ".current", ["`current: null`"]),
    "current text": ({"current": "phone"}, COLUMNS, ".current", ["phone cannot be", "found an optional string"]),
    "current unknown": ({"current": "now"}, COLUMNS, ".current", ["unknown column 'now'"]),
    "current no name": ({"current": False}, COLUMNS, ".current", ["unknown column 'False'"]),
    "surrogate no text": ({"surrogate": "score"}, COLUMNS, ".surrogate", ["score cannot be", "surrogate: null"]),
    "surrogate unknown": ({"surrogate": "customer_ky"}, COLUMNS, ".surrogate", ["mean 'customer_key'"]),
    "surrogate in the key": (
        {"key": ["customer_key"], "surrogate": "customer_key"}, COLUMNS, ".surrogate", ["is key and surrogate"],
    ),
    "beginning in the key": ({"key": ["customer_id", "valid_from"]}, COLUMNS, ".validFrom", ["is key and validFrom"]),
    "tracked unknown": ({"tracked": ["segment", "fone"]}, COLUMNS, ".tracked[1]", ["mean 'phone'"]),
    "tracked twice": ({"tracked": ["phone", "phone"]}, COLUMNS, ".tracked[1]", ["phone is listed twice"]),
    "nothing tracked": ({"tracked": []}, COLUMNS, ".tracked", ["tracked is a list of columns", "leave it out"]),
    "tracked key": ({"tracked": ["customer_id"]}, COLUMNS, ".tracked[0]", ["is tracked, and is key"]),
    "tracked beginning": ({"tracked": ["phone", "valid_from"]}, COLUMNS, ".tracked[1]", ["and is validFrom"]),
    "tracked end": ({"tracked": ["valid_to"]}, COLUMNS, ".tracked[0]", ["and is validTo", "expected attributes"]),
    "tracked current": ({"tracked": ["is_current"]}, COLUMNS, ".tracked[0]", ["is_current is tracked"]),
    "tracked surrogate": ({"tracked": ["customer_key"]}, COLUMNS, ".tracked[0]", ["and is surrogate"]),
    "marker a column": ({"deleted": "Phone"}, COLUMNS, ".deleted", ["Phone is a column of the table"]),
    "complete no truth": ({"complete": "yes"}, COLUMNS, ".complete", ["true or false", "'yes'"]),
    "complete nothing": ({"complete": None}, COLUMNS, ".complete", ["true or false", "None"]),
    "days": ({"lateDays": -3}, COLUMNS, ".lateDays", ["a whole number from 0", "-3"]),
    "the key's own": ({"key": ["customer_key"]}, COLUMNS, "", ["the same primary key", "customer_key and valid_from"]),
    "the key and whether it holds": (
        {"key": ["customer_id"]},
        [{**ID, "primaryKey": True}, {**CURRENT, "primaryKey": True}, SEGMENT, FROM, TO],
        "", ["the same primary key", "found customer_id, is_current", "Mark valid_from"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_mistakes_say_where_and_what_to_do(state: Callable[..., Table], bad: str) -> None:
    history, columns, where, words = BAD[bad]

    with pytest.raises(ContractError) as caught:
        state(history, columns)

    error = str(caught.value)
    assert "dim_customer.yaml:" in error
    assert f": customProperties[1].value{where}: " in error
    assert caught.value.remedy
    for word in words:
        assert word in error


def test_a_history_has_a_key(declare: Declare) -> None:
    with pytest.raises(ContractError, match=r"customProperties\[1\]\.value: no key.*Add `key: \[customer_id\]`"):
        declare(COLUMNS, custom={"strategy": "scd2", "history": {"deleted": "gone"}})


def test_scd2_without_history(declare: Declare) -> None:
    with pytest.raises(ContractError, match=r"customProperties\[0\]\.value: scd2 without history.*customer_id"):
        declare(COLUMNS, custom={"strategy": "scd2"})


@pytest.mark.parametrize("strategy", ["replace", "append", "merge", "delete+insert"])
def test_history_with_another_strategy(state: Callable[..., Table], strategy: str) -> None:
    with pytest.raises(ContractError) as caught:
        state({}, strategy=strategy)

    assert f"customProperties[1].value: history with the strategy {strategy}" in caught.value.what
    assert caught.value.expected == "the strategy scd2"


def examples() -> tuple[dict[str, Any], ...]:
    part = PAGE.split("### How rows enter\n")[1].split("### When a day is computed anew\n")[0]
    found = re.findall(r"^```yaml\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    return tuple(yaml.safe_load(text) for text in found)


def test_the_examples_of_the_page_compile(declare: Declare) -> None:
    """Each states what the text beside it says."""
    merged, parts, versions = examples()
    order = {"name": "order_id", "logicalType": "integer", "primaryKey": True}
    moment = {"name": "updated_at", "logicalType": "timestamp", "required": True}
    line = {"name": "line_no", "logicalType": "integer", "primaryKey": True}

    def custom(example: dict[str, Any]) -> dict[str, object]:
        return {entry["property"]: entry["value"] for entry in example["customProperties"]}

    assert declare([order, moment], custom=custom(merged)).merge == MergePolicy(
        ("order_id",), "updated_at", "is_deleted", timedelta(days=30)
    )
    assert declare([order, line], custom=custom(parts)).merge == MergePolicy(("order_id",))
    assert declare(versions["schema"][0]["properties"], custom=custom(versions)).history == HistoryPolicy(
        ("customer_id",), ("segment",), "is_deleted", surrogate="customer_key"
    )


def test_the_page_names_every_key() -> None:
    part = PAGE.split("### How rows enter\n")[1].split("### When a day is computed anew\n")[0]

    for strategy in Strategy:
        assert f"| `{strategy}`" in part
    for key in ("complete", "current", "deleted", "key", "lateDays", "sequence", "surrogate", "tracked", "validFrom"):
        assert f"| `{key}`" in part
