"""What a change of how rows enter a table means for those who read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.diff import compare
from lakehouse.contracts.difference import Difference, Move
from lakehouse.tables import Table

Declare = Callable[..., Table]
Contract = dict[str, Any]
W, N, C, A, R = Move.WIDENED, Move.NARROWED, Move.CHANGED, Move.ADDED, Move.REMOVED
BREAKS, FITS = True, False
MIRRORED = {A: R, R: A, W: N, N: W, C: C}
ID = {"name": "id", "logicalType": "integer", "primaryKey": True}
PART = {"name": "part", "logicalType": "integer", "required": True}
SEEN = {"name": "seen_at", "logicalType": "timestamp", "required": True}
SENT = {"name": "sent_at", "logicalType": "timestamp", "required": True}
NOTE = {"name": "note", "logicalType": "string"}
VERSIONS = [
    {"name": "version", "logicalType": "string", "primaryKey": True},
    {"name": "hash", "logicalType": "string", "required": True},
    *({"name": name, "logicalType": "integer", "required": True} for name in ("id", "shop")),
    *({"name": name, "logicalType": "string"} for name in ("name", "phone")),
    *({"name": name, "logicalType": "timestamp", "required": True} for name in ("valid_from", "since")),
    *({"name": name, "logicalType": "timestamp"} for name in ("valid_to", "until")),
    *({"name": name, "logicalType": "boolean"} for name in ("is_current", "holds")),
]
KNOWN = {"sequence": "seen_at", "deleted": "gone"}


def merge(**said: object) -> Contract:
    return {"properties": [ID, PART, SEEN, SENT, NOTE], "custom": {"strategy": "merge", "merge": said}}


def wholes(**said: object) -> Contract:
    return {"properties": [ID, PART, NOTE], "custom": {"strategy": "delete+insert", "merge": said}}


def history(properties: list[Any] = VERSIONS, **said: object) -> Contract:
    return {"properties": properties, "custom": {"strategy": "scd2", "history": {"key": ["id"], **said}}}


def plain(strategy: str, properties: list[Any] = VERSIONS) -> Contract:
    return {"properties": properties, "custom": {"strategy": strategy}}


def without(*names: str) -> list[Any]:
    return [column for column in VERSIONS if column["name"] not in names]


def called(old: str, new: str, properties: list[Any]) -> list[Any]:
    former = [{"property": "renamedFrom", "value": old}]
    return [{**one, "name": new, "customProperties": former} if one["name"] == old else one for one in properties]


PHONE = history(tracked=["phone"])
# Before, after, and the one difference: its subject, its move, whether it breaks, words of the change.
CASES: Mapping[str, tuple[Contract, Contract, str, Move, bool, str]] = {
    "sequence": (merge(), merge(sequence="seen_at"), "merge sequence", A, FITS, "none -> seen_at"),
    "no sequence": (merge(sequence="seen_at"), merge(), "merge sequence", R, BREAKS, "seen_at -> none"),
    "another sequence": (
        merge(sequence="seen_at"), merge(sequence="sent_at"), "merge sequence", C, BREAKS, "seen_at -> sent_at",
    ),
    "deletes": (merge(), merge(deleted="gone"), "merge deleted", A, FITS, "none -> gone"),
    "no deletes": (merge(deleted="gone"), merge(), "merge deleted", R, BREAKS, "gone -> none"),
    "another marker": (merge(deleted="gone"), merge(deleted="left"), "merge deleted", C, FITS, "gone -> left"),
    "remembered for less": (merge(**KNOWN), merge(**KNOWN, lateDays=3), "merge lateDays", N, BREAKS, "-> 3 days"),
    "remembered for more": (merge(**KNOWN, lateDays=1), merge(**KNOWN), "merge lateDays", W, FITS, "1 day -> 30 days"),
    "not remembered any more": (merge(**KNOWN, lateDays=9), merge(sequence="seen_at"), "merge deleted", R, BREAKS, ""),
    "wholes": (wholes(), wholes(key=["part"]), "merge key", C, FITS, "id -> part"),
    "key of a history": (history(), history(key=["shop"]), "history key", C, BREAKS, "id -> shop"),
    "longer key of a history": (history(), history(key=["id", "shop"]), "history key", C, BREAKS, "id -> id, shop"),
    "order of the key that surrogates are computed from": (
        history(key=["id", "shop"]), history(key=["shop", "id"]), "history key", C, BREAKS, "id, shop -> shop, id",
    ),
    "order of the key": (
        history(key=["id", "shop"], surrogate=None), history(key=["shop", "id"], surrogate=None), "history key", C,
        FITS, "id, shop -> shop, id",
    ),
    "less is tracked": (
        history(), history(tracked=["name", "hash", "since", "until", "holds", "shop"]), "history tracked", R, BREAKS,
        "without phone",
    ),
    "more is tracked": (PHONE, history(tracked=["phone", "name"]), "history tracked", A, FITS, "with name"),
    "other is tracked": (PHONE, history(tracked=["name"]), "history tracked", C, BREAKS, "with name, without phone"),
    "a deleted key ends": (history(), history(deleted="gone"), "history deleted", A, FITS, "none -> gone"),
    "a deleted key does not end": (history(deleted="gone"), history(), "history deleted", R, BREAKS, "gone -> none"),
    "changes alone": (history(), history(complete=False), "history complete", C, FITS, "true -> false"),
    "late changes": (
        history(complete=False), history(complete=False, lateDays=3), "history lateDays", N, BREAKS, "-> 3 days",
    ),
    "later changes": (
        history(complete=False), history(complete=False, lateDays=90), "history lateDays", W, FITS, "-> 90 days",
    ),
    "late changes that come again": (
        history(), history(lateDays=3), "history lateDays", N, FITS, "30 days -> 3 days",
    ),
    "another beginning": (history(), history(validFrom="since"), "history validFrom", C, BREAKS, "valid_from -> since"),
    "another end": (history(), history(validTo="until"), "history validTo", C, BREAKS, "valid_to -> until"),
    "another word for now": (history(), history(current="holds"), "history current", C, BREAKS, "is_current -> holds"),
    "no word for now": (history(), history(current=None), "history current", R, BREAKS, "is_current -> none"),
    "another surrogate": (history(), history(surrogate="hash"), "history surrogate", C, BREAKS, "version -> hash"),
    "no surrogate": (history(), history(surrogate=None), "history surrogate", R, BREAKS, "version -> none"),
    "a surrogate": (history(surrogate=None), history(), "history surrogate", A, BREAKS, "none -> version"),
    "from a replaced table to versions": (plain("replace"), history(), "strategy", C, FITS, "replace -> scd2"),
    "from versions": (history(), plain("replace"), "strategy", C, BREAKS, "scd2 -> replace"),
    "from appended rows": (plain("append"), plain("merge"), "strategy", C, BREAKS, "append -> merge"),
    "from a merge": (merge(**KNOWN), plain("replace", [ID, PART, SEEN, SENT, NOTE]), "strategy", C, FITS, "merge"),
    "to wholes": (plain("merge"), plain("delete+insert"), "strategy", C, FITS, "merge -> delete+insert"),
}  # fmt: skip


def told(found: tuple[Difference, ...]) -> list[Difference]:
    return [one for one in found if one.subject != "version"]


@pytest.mark.parametrize("case", CASES)
def test_one_difference(declare: Declare, case: str) -> None:
    old, new, subject, move, breaking, change = CASES[case]

    found = compare(declare(**old), declare(**new))

    (one,) = told(found)
    assert (one.subject, one.move, one.breaking) == (subject, move, breaking)
    assert change in one.change
    assert one.reason
    # What breaks asks for another version too.
    assert [other.breaking for other in found if other.subject == "version"] == [True] * breaking


def test_the_primary_key_that_rows_are_merged_by_is_told_once(declare: Declare) -> None:
    other = [{**ID, "primaryKey": False, "required": True}, {**PART, "primaryKey": True}]
    for strategy in ("merge", "delete+insert"):
        found = compare(declare(**plain(strategy, [ID, PART])), declare(**plain(strategy, other)))
        assert [one.subject for one in told(found)][:1] == ["primary key"]
        assert "merge key" not in {one.subject for one in found}


def test_a_column_of_a_new_name_is_the_same_column(declare: Declare) -> None:
    columns = called("is_current", "now", called("valid_from", "begins", called("phone", "tel", VERSIONS)))
    old = declare(**PHONE)
    new = declare(**history(columns, tracked=["tel"], validFrom="begins", current="now"))

    assert [one.subject for one in told(compare(old, new))] == [
        "column phone",
        "column valid_from",
        "column is_current",
    ]

    merged = [ID, PART, SEEN, SENT, NOTE]
    old = declare(**merge(sequence="seen_at"))
    new = declare(called("seen_at", "read_at", merged), custom={"strategy": "merge", "merge": {"sequence": "read_at"}})
    assert [one.subject for one in told(compare(old, new))] == ["column seen_at"]


def test_attributes_that_come_and_go_are_told_as_columns(declare: Declare) -> None:
    for old, new, move in ((without("phone"), VERSIONS, A), (VERSIONS, without("phone"), R)):
        (one,) = told(compare(declare(**history(old)), declare(**history(new))))
        assert (one.subject, one.move) == ("column phone", move)


def test_a_computed_column_that_comes_new_breaks_nobody(declare: Declare) -> None:
    found = told(compare(declare(**history(without("is_current"))), declare(**history())))

    assert [(one.subject, one.move, one.breaking) for one in found] == [
        ("column is_current", A, FITS),
        ("history current", A, FITS),
    ]


def test_what_is_said_in_other_words_is_the_same(declare: Declare) -> None:
    attributes = ["hash", "shop", "name", "phone", "since", "until", "holds"]
    stated = history(tracked=attributes, complete=True, validFrom="valid_from", surrogate="version", lateDays=30)
    assert compare(declare(**history()), declare(**stated)) == ()
    assert compare(declare(**merge()), declare(**merge(key=["id"], sequence=None))) == ()


@st.composite
def policies(draw: st.DrawFn) -> Contract:
    """Tables of versions that say something each."""
    said: dict[str, object] = {
        "key": draw(st.sampled_from([["id"], ["shop"], ["id", "shop"], ["shop", "id"]])),
        "complete": draw(st.booleans()),
        "lateDays": draw(st.integers(0, 3)),
        "deleted": draw(st.sampled_from([None, "gone", "left"])),
        "surrogate": draw(st.sampled_from([None, "version", "hash"])),
        "current": draw(st.sampled_from([None, "is_current", "holds"])),
        "validFrom": draw(st.sampled_from(["valid_from", "since"])),
    }
    tracked = sorted(draw(st.sets(st.sampled_from(["name", "phone"]))))
    return history(**said, **({"tracked": tracked} if tracked else {}))


@settings(deadline=None, max_examples=40)
@given(old=policies(), new=policies())
def test_the_way_back_is_the_mirror_image(declare: Declare, old: Contract, new: Contract) -> None:
    one, other = declare(**old), declare(**new)
    there, back = told(compare(one, other)), told(compare(other, one))
    assert [(d.subject, d.move) for d in back] == [(d.subject, MIRRORED[d.move]) for d in there]
    assert (there == []) == (one.history == other.history)
