"""What a load shows of its rows beside the gate: the balance, the quarantine, and what the door turned away."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from lakehouse.iceberg import Lake, connect
from lakehouse.iceberg.duck import register
from lakehouse.ingest import LoadResult, load, load_findings, quarantined
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Rule, Severity, Table
from lakehouse.tables.load_check import LoadCheck

COLUMNS = {"number": "long", "name": "string"}
SHORT = Rule("name_short", "length(name) < 6", column="name", description="Names are short")


@pytest.fixture
def landing(settings: Settings) -> Settings:
    (settings.state / "landing").mkdir()
    return load_settings(
        settings.project,
        state=str(settings.state),
        catalog={"uri": settings.catalog.uri.get_secret_value()},
        sources={"landing": {"kind": "files", "root": "landing", "settle": 0}},
    )


@pytest.fixture
def people(make_table: Callable[..., Table]) -> Table:
    table = make_table(COLUMNS, required=["number"], rules=[SHORT, Rule("odd", "number % 2 = 1", Severity.WARNING)])
    return replace(table, columns=(table.columns[0], Column("name", "string", personal=True)))


def deliver(settings: Settings, name: str, *rows: object) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (settings.state / "landing" / name).write_text("\n".join(lines))


def found(settings: Settings, table: Table) -> tuple[LoadResult, dict[str, Finding]]:
    lake = Lake.open(settings)
    result = load(settings, lake, table, run_id="run")
    findings = load_findings(lake, table, result)
    assert len({finding.rule for finding in findings}) == len(findings)
    return result, {finding.rule: finding for finding in findings}


def test_good_rows_pass_every_check_of_a_load(landing: Settings, people: Table) -> None:
    deliver(landing, "a.jsonl", {"number": 1, "name": "Ada"}, {"number": 3, "name": None})
    result, findings = found(landing, people)
    # The warning is the gate's to judge, and there was none.
    assert set(findings) == {*LoadCheck, "name_short"}
    assert {finding.passed for finding in findings.values()} == {True}
    assert findings["name_short"].observed == "0 of 2 rows rejected"
    assert findings[LoadCheck.BALANCE].observed == "2 rows read, 2 accounted for"
    assert result.commit is not None
    assert findings[LoadCheck.BALANCE].snapshot_id == result.commit.snapshot_id


def test_rejected_rows_are_counted_by_rule_and_shown_masked(landing: Settings, people: Table) -> None:
    good = [{"number": n, "name": "Ada"} for n in range(10)]
    deliver(
        landing,
        "a.jsonl",
        *good,
        {"number": 11, "name": "Wilhelmina"},
        {"number": "x", "name": "Bo"},
        "{",
        {"name": "Cy"},
    )
    _, findings = found(landing, people)
    assert {name: (one.failed, one.passed, one.blocks) for name, one in findings.items()} == {
        LoadCheck.BALANCE: (None, True, False),
        LoadCheck.QUARANTINE: (None, False, False),
        LoadCheck.TYPES: (2, False, False),
        "name_short": (1, False, False),
    }
    short = findings["name_short"]
    assert (short.rows, short.column, short.share) == (14, "name", pytest.approx(1 / 14))
    assert short.sample == ({"_source": "a.jsonl:11", "name": "•••"},)
    assert {row["_source"] for row in findings[LoadCheck.TYPES].sample} == {"a.jsonl:12", "a.jsonl:13"}
    lake = Lake.open(landing)
    with connect(landing) as duck:
        register(duck, lake)
        assert duck.execute(short.sql).fetchall() == [("a.jsonl:11", "Names are short", '{"name": "Wilhelmina"}')]


def test_the_examples_are_few_and_the_counts_are_all(landing: Settings, people: Table) -> None:
    deliver(landing, "a.jsonl", *({"number": n, "name": "Ada" if n % 2 else "Wilhelmina"} for n in range(60)))
    _, findings = found(landing, people)
    assert (findings["name_short"].failed, len(findings["name_short"].sample)) == (30, 10)


def test_what_waits_from_an_earlier_load_is_still_said(landing: Settings, people: Table) -> None:
    assert quarantined(Lake.open(landing), people).passed
    deliver(landing, "a.jsonl", {"number": 1, "name": "Ada"}, {"number": 3, "name": "Wilhelmina"})
    found(landing, people)
    deliver(landing, "b.jsonl", {"number": 5, "name": "Bo"})
    result, findings = found(landing, people)
    assert result.rows_quarantined == 0
    assert findings["name_short"].passed
    assert (findings[LoadCheck.QUARANTINE].passed, findings[LoadCheck.QUARANTINE].observed) == (
        False,
        "1 rows in quarantine.shop_payments",
    )
    assert findings[LoadCheck.QUARANTINE].severity is Severity.WARNING


def test_a_balance_out_of_true_blocks(landing: Settings, people: Table) -> None:
    deliver(landing, "a.jsonl", {"number": 1, "name": "Ada"})
    result, _ = found(landing, people)
    lost = replace(result, rows_read=2)
    (balance, *_) = load_findings(Lake.open(landing), people, lost)
    assert (balance.rule, balance.passed, balance.blocks) == (LoadCheck.BALANCE, False, True)
