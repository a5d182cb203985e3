"""What a contract says about a table that is there already: former names, columns to drop, whether it may change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lakehouse.errors import ContractError
from lakehouse.tables import Drift, Evolution, LoadPolicy, Table

Declare = Callable[..., Table]
KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}


def column(name: str, *former: object) -> dict[str, object]:
    """A text column with customProperties `renamedFrom`."""
    custom = [{"property": "renamedFrom", "value": value} for value in former]
    return {"name": name, "logicalType": "string", **({"customProperties": custom} if custom else {})}


def test_a_contract_says_nothing_and_the_table_follows_it(declare: Declare) -> None:
    table = declare([KEY, column("note")])
    assert (table.evolution, table.drop) == (Evolution.EVOLVE, frozenset())
    assert [one.renamed_from for one in table.columns] == [None, None]


def test_former_names_drops_and_the_policy_reach_the_table(declare: Declare) -> None:
    table = declare([KEY, column("note", "remark")], custom={"drop": ["old", "older"], "evolution": "freeze"})
    assert table.column("note").renamed_from == "remark"
    assert table.drop == {"old", "older"}
    assert table.evolution is Evolution.FREEZE


def test_what_a_load_does_about_another_source(declare: Declare) -> None:
    stated = {"source": "shop", "table": "public.orders"}
    plain, frozen = (
        declare([KEY], name="bronze.things", custom={"load": load, **more})
        for load, more in ((stated, {}), ({**stated, "ignore": ["note"]}, {"drift": "freeze", "deletesLimit": 1}))
    )
    assert plain.load == LoadPolicy("shop", {"table": "public.orders"})
    assert plain.load.ignored == frozenset()
    assert frozen.load is not None
    assert (frozen.load.drift, frozen.load.ignored, frozen.load.deletes_limit) == (Drift.FREEZE, {"note"}, 1.0)


@pytest.mark.parametrize(
    ("custom", "said"),
    [
        ({"drift": "sometimes"}, "drift.*sometimes"),
        ({"deletesLimit": 50}, "deletesLimit is a share from 0 to 1"),
        ({"load": {"source": "shop", "ignore": "note"}}, "ignore is a list of text"),
        ({"load": {"source": "shop", "ignore": [1]}}, "ignore is a list of text"),
    ],
)
def test_what_it_cannot_do_is_refused(declare: Declare, custom: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        declare([KEY], name="bronze.things", custom={"load": {"source": "shop"}, **custom})


@pytest.mark.parametrize(
    ("columns", "custom", "said"),
    [
        ([KEY, column("note", "id")], {}, "renamed from id"),
        ([KEY, column("a", "x"), column("b", "x")], {}, "renamed from x"),
        ([KEY, column("a", "b"), column("b", "c")], {}, "renamed from b"),
        ([KEY, column("a", "x", "y")], {}, "stated twice"),
        ([KEY, column("a", 3)], {}, "former name"),
        ([KEY, {**column("a"), "customProperties": [{"property": "formerly", "value": "x"}]}], {}, "formerly"),
        ([KEY], {"drop": ["id"]}, "id is to be dropped"),
        ([KEY], {"drop": ["_source"]}, "_source is to be dropped"),
        ([KEY], {"drop": "old"}, "list"),
        ([KEY], {"evolution": "sometimes"}, "sometimes"),
    ],
)
def test_what_contradicts_itself_is_refused_at_its_place(
    declare: Declare, columns: list[dict[str, object]], custom: dict[str, object], said: str
) -> None:
    with pytest.raises(ContractError, match=r"things\.yaml:\d+: ") as caught:
        declare(columns, custom=custom)
    assert said in str(caught.value)
