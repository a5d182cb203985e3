"""Which days are to blame for a broken rule, and what follows for the tables that read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.contracts import Declarations
from lakehouse.iceberg import Lake, connect
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.settings import Settings
from lakehouse.tables import (
    Bound,
    Column,
    Comparison,
    Rule,
    Severity,
    Strategy,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
    Window,
)
from lakehouse.transform.attribution import Blame, bad_days
from lakehouse.transform.events import ModelFinished, Status, TestFinished
from lakehouse.transform.manifest import Manifest, Model, Test
from lakehouse.transform.publish import decide

D = [date(2026, 1, 1) + timedelta(days=number) for number in range(5)]
WINDOW = Window.of_days(D[1], D[3])
NONE = Bound(Comparison.EQUAL, (0,))
BRANCH = "run/1"


def daily(label: str, rules: Sequence[Rule | TableRule] = (), **changes: object) -> Table:
    values = {"window_column": "day", "window_start": D[0], "strategy": Strategy.OVERWRITE, **changes}
    return Table(
        TableName.parse(label),
        "test",
        "",
        (Column("id", "long"), Column("day", "date"), Column("ref", "long")),
        Path(f"{label}.yaml"),
        rules=tuple(rule for rule in rules if isinstance(rule, Rule)),
        table_rules=tuple(rule for rule in rules if isinstance(rule, TableRule)),
        **values,  # type: ignore[arg-type]  # the fields that tests vary
    )


OTHER = daily("silver.other")
RULES = (
    Rule("small", "id < 100"),
    TableRule("once", TableRuleKind.UNIQUE, ("id",)),
    TableRule("rarely_twice", TableRuleKind.DUPLICATES, ("ref",), {"bound": NONE}),
    TableRule("known", TableRuleKind.RELATIONSHIP, ("ref",), {"to": OTHER.name, "to_columns": ("id",)}),
    TableRule("few_large", TableRuleKind.BAD_ROWS, (), {"predicate": "id < 50", "bound": NONE}),
    TableRule("some_rows", TableRuleKind.ROW_COUNT, (), {"bound": NONE}),
    TableRule("sums_up", TableRuleKind.SQL, (), {"query": "select count(*) from {object}", "bound": NONE}),
    TableRule(
        "agrees",
        TableRuleKind.SQL,
        (),
        {"query": "select count(*) from {object} where exists (from silver.other)", "bound": NONE},
    ),
)
TABLE = daily("silver.one", RULES)
CHILD, GRANDCHILD = daily("gold.child"), daily("gold.grandchild")
ELSEWHERE = daily("gold.elsewhere", window_column="ref_day")
WHOLE = daily("gold.whole", window_column=None, window_start=None, strategy=Strategy.REPLACE)


def finding(rule: str, outcome: Outcome = Outcome.FAILED, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(TABLE.name, rule, severity, outcome, "", "1 of 2 rows", branch=BRANCH)


def write(lake: Lake, table: Table, *rows: tuple[int, date | None, int | None], branch: str = BRANCH) -> None:
    stored = lake.create(table)
    ids, days, refs = zip(*rows, strict=True)
    if branch != "main":
        stored.create_branch(branch)
    content = pa.table({"id": ids, "day": days, "ref": refs}, schema=stored.schema())
    stored.append(content, run_key=f"{table.name}:{branch}", branch=branch)


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """Of the table, only the branch has rows: what is wrong with each stands beside it."""
    write(lake, OTHER, (1, D[0], None), (2, D[0], None))
    write(
        lake,
        TABLE,
        (1, D[0], 1),
        (100, D[1], 2),  # large
        (7, D[2], None),
        (7, D[3], None),  # twice
        (60, D[4], 9),  # rather large, and of nobody known
    )
    return lake


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("small", {D[1]}),
        ("once", {D[2], D[3]}),
        ("known", {D[4]}),
        ("few_large", {D[1], D[4]}),
        ("some_rows", None),
        ("sums_up", None),
    ],
)
def test_rules_of_rows_name_days_and_figures_do_not(
    settings: Settings, filled: Lake, rule: str, days: set[date] | None
) -> None:
    with connect(settings) as duck:
        assert bad_days(duck, filled, TABLE, finding(rule)) == days
        # Of a rule that could not be judged nobody knows what is wrong.
        assert bad_days(duck, filled, TABLE, finding(rule, Outcome.ERROR)) is None


def test_a_bad_row_without_a_day_cannot_be_held_by_days(settings: Settings, lake: Lake) -> None:
    write(lake, TABLE, (100, None, 1), (200, D[1], 1), (5, D[2], 1))
    with connect(settings) as duck:
        assert bad_days(duck, lake, TABLE, finding("small")) is None
        assert bad_days(duck, lake, TABLE, finding("rarely_twice")) is None


MODELS: list[tuple[Table, tuple[Table, ...]]] = [
    (TABLE, ()),
    (CHILD, (TABLE,)),
    (GRANDCHILD, (CHILD,)),
    (ELSEWHERE, (TABLE,)),
    (WHOLE, (TABLE,)),
    (OTHER, ()),
]
MANIFEST = Manifest(
    {
        f"model.{table.name}": Model(
            f"model.{table.name}",
            *table.name.key,
            "iceberg",
            "",
            "",
            "",
            tuple(f"model.{parent.name}" for parent in parents),
        )
        for table, parents in MODELS
    },
    {},
)


def blame(settings: Settings, lake: Lake, *findings: Finding, window: Window = WINDOW) -> Blame:
    made = Blame(lambda: connect(settings), lake, Declarations(table for table, _ in MODELS), window)
    made.take(TABLE.name, findings)
    return made


def test_a_bad_day_is_bad_for_what_reads_it_and_for_what_reads_that(settings: Settings, filled: Lake) -> None:
    found = blame(settings, filled, finding("small"))
    assert found.excuses(TABLE.name, MANIFEST)
    for table in (TABLE, CHILD, GRANDCHILD):
        assert found.days(table.name, MANIFEST) == {D[1]: "rule small of silver.one failed: 1 of 2 rows"}
    # Which days of it the parent's day reaches, nobody says.
    assert [*found.days(ELSEWHERE.name, MANIFEST)] == [D[1], D[2], D[3]]
    assert (found.by_days(WHOLE.name), found.days(OTHER.name, MANIFEST)) == (False, {})


def test_what_cannot_be_blamed_on_days_holds_all_unless_others_are_bad(settings: Settings, filled: Lake) -> None:
    alone = blame(settings, filled, finding("sums_up"))
    assert not alone.excuses(TABLE.name, MANIFEST)
    assert "says nothing about single days: every day of [2026-01-02, 2026-01-05)" in alone.remark(TABLE.name)
    beside = blame(settings, filled, finding("sums_up"), finding("once"))
    assert beside.excuses(TABLE.name, MANIFEST)
    assert [*beside.own(TABLE.name)] == [D[2], D[3]]


@pytest.mark.parametrize(("rule", "window"), [("few_large", WINDOW), ("once", Window.of_days(D[2], D[3]))])
def test_no_day_is_left_when_all_are_bad_or_main_shows_such_rows_already(
    settings: Settings, filled: Lake, rule: str, window: Window
) -> None:
    assert not blame(settings, filled, finding(rule), window=window).excuses(TABLE.name, MANIFEST)


def test_rows_outside_of_the_window_are_named(settings: Settings, filled: Lake) -> None:
    found = blame(settings, filled, finding("few_large"))
    assert (
        found.remark(TABLE.name) == "few_large is broken outside of [2026-01-02, 2026-01-05) too, first on 2026-01-05"
    )


def test_the_last_audit_of_a_rule_counts_and_warnings_never_hold(settings: Settings, filled: Lake) -> None:
    found = blame(settings, filled, finding("small"), finding("once", severity=Severity.WARNING))
    assert [*found.own(TABLE.name)] == [D[1]]
    found.take(TABLE.name, [finding("once")])
    assert {*found.own(TABLE.name)} == {D[1], D[2], D[3]}
    found.take(TABLE.name, [finding("small", Outcome.PASSED)])
    assert {*found.own(TABLE.name)} == {D[2], D[3]}
    found.forget(TABLE.name)
    assert (found.own(TABLE.name), found.excuses(TABLE.name, MANIFEST)) == ({}, False)


@pytest.fixture
def shown(filled: Lake) -> Lake:
    """Main shows the wrong rows of the last day too, and one more order than the branch."""
    content = ((60, D[4], 9), (3, D[0], 1), (4, D[0], 1), (5, D[0], 1), (6, D[0], 1), (8, D[0], 1))
    write(filled, TABLE, *content, branch="main")
    return filled


def test_rows_that_main_shows_outside_of_the_window_hold_nothing(settings: Settings, shown: Lake) -> None:
    """Else two days that need the same repair, in two runs, would wait for one another for ever."""
    found = blame(settings, shown, finding("few_large"))
    assert [*found.own(TABLE.name)] == [D[1]]
    assert found.excuses(TABLE.name, MANIFEST)
    alone = blame(settings, shown, finding("known"), window=Window.of_days(D[1], D[1]))
    assert (alone.own(TABLE.name), alone.excuses(TABLE.name, MANIFEST)) == ({}, True)
    assert alone.not_at_fault == {(TABLE.name, "known")}
    assert alone.excused(finding("known"))
    assert not alone.excused(finding("small"))


@pytest.mark.parametrize("rule", ["sums_up", "agrees"])
def test_a_figure_that_is_no_worse_than_mains_holds_nothing(settings: Settings, shown: Lake, rule: str) -> None:
    """Of the branch it is five rows, of main six, and it must be none; also where the SQL names another table."""
    found = blame(settings, shown, finding(rule))
    assert found.excuses(TABLE.name, MANIFEST)
    assert found.not_at_fault == {(TABLE.name, rule)}
    found.take(TABLE.name, [finding(rule, Outcome.PASSED)])
    assert found.not_at_fault == frozenset()
    found.take(TABLE.name, [finding(rule, Outcome.ERROR)])
    assert not found.excuses(TABLE.name, MANIFEST)


@pytest.mark.parametrize("rule", ["sums_up", "agrees"])
def test_a_figure_that_gets_worse_holds_every_day(settings: Settings, lake: Lake, rule: str) -> None:
    write(lake, TABLE, (1, D[0], 1), branch="main")
    write(lake, OTHER, (1, D[0], None))
    lake.table(TABLE.name).create_branch(BRANCH)
    more = pa.table({"id": [2], "day": [D[1]], "ref": [1]}, schema=lake.table(TABLE.name).schema())
    lake.table(TABLE.name).append(more, run_key="more", branch=BRANCH)
    found = blame(settings, lake, finding(rule))
    assert not found.excuses(TABLE.name, MANIFEST)
    assert found.not_at_fault == frozenset()


AUDIT = Test(
    "test.audit", "audit", f"model.{TABLE.name}", (f"model.{TABLE.name}",), blocking=True, unit=False, audit=("small",)
)
BESIDE = Test(
    "test.other",
    "other",
    f"model.{OTHER.name}",
    (f"model.{OTHER.name}", f"model.{TABLE.name}"),
    blocking=True,
    unit=False,
)


def test_only_the_bad_day_is_held_of_daily_tables_and_all_of_what_cannot_do_without(
    settings: Settings, filled: Lake
) -> None:
    found = finding("small")
    events = [
        *(
            ModelFinished(f"model.{table.name}", str(table.name), table.name, Status.SUCCESS, 0.1)
            for table, _ in MODELS
        ),
        TestFinished(AUDIT.unique_id, AUDIT.name, AUDIT.owner, AUDIT.models, Status.FAIL, 0.1, findings=(found,)),
        TestFinished(BESIDE.unique_id, BESIDE.name, BESIDE.owner, BESIDE.models, Status.PASS, 0.1),
    ]
    manifest = Manifest(MANIFEST.models, {AUDIT.unique_id: AUDIT, BESIDE.unique_id: BESIDE})

    decision = decide(events, manifest, blame(settings, filled, found))

    assert set(decision.publish) == {TABLE.name, CHILD.name, GRANDCHILD.name, OTHER.name}
    # Of the one whose rule was good beside a day that nobody sees, no day is bad, but it is judged once more.
    assert {name: [*days] for name, days in decision.days.items()} == {
        TABLE.name: [D[1]],
        CHILD.name: [D[1]],
        GRANDCHILD.name: [D[1]],
        OTHER.name: [],
    }
    assert decision.hold == {
        WHOLE.name: "it or a rule of it reads silver.one, of which days are held",
        ELSEWHERE.name: "rule small of silver.one failed: 1 of 2 rows",
    }
    # Without days to blame, all of it is held, and so is what reads it.
    whole = decide(events, manifest)
    assert (whole.days, set(whole.publish)) == ({}, set())
