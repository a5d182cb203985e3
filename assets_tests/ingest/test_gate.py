"""A load whose table has a blocking rule: nothing that breaks it is ever on main, and nothing is lost or doubled."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.contracts import Declarations
from lakehouse.errors import AuditFailed, Fenced
from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult, attempt_load, load
from lakehouse.ledger import LOADS
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Bound, Comparison, Rule, Severity, Table, TableName, TableRule, TableRuleKind

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "long", "paid_at": "timestamptz"}
QUARANTINE = TableName.parse("quarantine.shop_payments")
NONE = Bound(Comparison.EQUAL, (0,))
SMALL = TableRule(
    "no_large_payment",
    TableRuleKind.SQL,
    arguments={"query": "select count(*) from {object} where amount > 100", "bound": NONE},
    description="No payment is above 100",
)
ONCE = TableRule("payment_id_unique", TableRuleKind.UNIQUE, ("payment_id",))


@pytest.fixture
def landing(settings: Settings) -> Settings:
    (settings.state / "landing").mkdir()
    return load_settings(
        settings.project,
        state=str(settings.state),
        catalog={"uri": settings.catalog.uri.get_secret_value()},
        loads={"retry_seconds": 0},
        sources={"landing": {"kind": "files", "root": "landing", "settle": 0}},
        quality={"clock": "select timestamptz '2026-01-02 12:00:00+00'"},
    )


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return replace(make_table(COLUMNS, required=["payment_id", "amount"]), table_rules=(SMALL, ONCE))


@pytest.fixture
def lake(landing: Settings) -> Lake:
    return Lake.open(landing)


def gate(settings: Settings, table: Table) -> Gate:
    return Gate(settings, Lake.open(settings), Declarations([table]))


def write(settings: Settings, name: str, *records: tuple[str | None, int]) -> None:
    lines = [
        json.dumps({"payment_id": one, "amount": amount, "paid_at": "2026-01-01T10:00:00Z"}) for one, amount in records
    ]
    (settings.state / "landing" / name).write_text("\n".join(lines))


def run(settings: Settings, table: Table, **more: object) -> LoadResult:
    return load(settings, Lake.open(settings), table, run_id="run", gate=gate(settings, table), **more)  # type: ignore[arg-type]  # the words of load


def ids(lake: Lake, table: Table, at: str = "main") -> list[str]:
    return sorted(str(row["payment_id"]) for row in lake.table(table.name).scan(at=at).read_all().to_pylist())


def test_rows_that_pass_are_published_from_their_branch(landing: Settings, lake: Lake, payments: Table) -> None:
    write(landing, "a.jsonl", ("P1", 1), ("P2", 100))
    result = run(landing, payments)
    assert (ids(lake, payments), lake.table(payments.name).branches()) == (["P1", "P2"], ())
    assert [(found.rule, found.passed, found.branch) for found in result.findings] == [
        ("no_large_payment", True, f"load/{result.run_key}"),
        ("payment_id_unique", True, f"load/{result.run_key}"),
    ]
    assert result.commit is not None
    assert {found.snapshot_id for found in result.findings} == {result.commit.snapshot_id}
    assert (result.commit.branch, result.commit.rows_added) == ("main", 2)
    assert run(landing, payments).commit is None


def test_a_broken_rule_keeps_the_load_on_its_branch_and_a_mended_source_is_loaded_whole(
    landing: Settings, lake: Lake, payments: Table
) -> None:
    write(landing, "a.jsonl", ("P1", 1))
    first = run(landing, payments)
    write(landing, "b.jsonl", ("P2", 2), ("P3", 300), (None, 4))
    with pytest.raises(AuditFailed, match=r"no_large_payment of bronze\.payments failed.*branch show") as refused:
        run(landing, payments)
    (branch,) = lake.table(payments.name).branches()
    assert f"lakehouse branch show bronze.payments {branch}" in refused.value.remedy
    assert (ids(lake, payments), ids(lake, payments, branch)) == (["P1"], ["P1", "P2", "P3"])
    assert lake.table(payments.name).progress("load") == first.position
    assert len(lake.table(QUARANTINE).scan().read_all()) == 1
    assert lake.table(LOADS.name).stats().rows == 1

    # Another interval than that of the failed load: its branch is superseded.
    write(landing, "b.jsonl", ("P2", 2), ("P3", 30), (None, 4))
    write(landing, "c.jsonl", ("P4", 4))
    mended = run(landing, payments)
    assert (ids(lake, payments), lake.table(payments.name).branches()) == (["P1", "P2", "P3", "P4"], ())
    assert (mended.rows_read, mended.rows_published, mended.rows_quarantined, mended.rows_seen) == (4, 3, 0, 1)
    assert lake.table(LOADS.name).stats().rows == 2


def test_the_same_interval_again_is_judged_anew(landing: Settings, lake: Lake, payments: Table) -> None:
    write(landing, "a.jsonl", ("P1", 1), ("P2", 200), (None, 3))
    for _ in range(2):
        held = attempt_load(landing, lake, payments, run_id="run", gate=gate(landing, payments))
        assert held.held is not None
        assert (held.rows_read, held.rows_published, held.rows_quarantined + held.rows_seen) == (3, 2, 1)
        assert lake.table(payments.name).branches() == (f"load/{held.run_key}",)
    lenient = replace(payments, table_rules=(ONCE,))
    result = run(landing, lenient)
    assert (result.run_key, ids(lake, payments)) == (held.run_key, ["P1", "P2"])
    assert lake.table(payments.name).branches() == ()
    assert len(lake.table(QUARANTINE).scan().read_all()) == 1


def test_staged_rows_that_a_mended_contract_rejects_are_read_anew(
    landing: Settings, lake: Lake, payments: Table
) -> None:
    write(landing, "a.jsonl", ("P1", 1), ("P2", 200))
    held = attempt_load(landing, lake, payments, run_id="run", gate=gate(landing, payments))
    assert held.held is not None
    stricter = replace(payments, rules=(*payments.rules, Rule("amount_maximum", "amount <= 100", column="amount")))
    result = run(landing, stricter)
    assert (result.run_key, ids(lake, payments), result.rows_quarantined) == (held.run_key, ["P1"], 1)


def test_a_load_killed_between_staging_and_publication_is_completed_by_the_next(
    landing: Settings, lake: Lake, payments: Table, tmp_path: Path
) -> None:
    windowed = replace(payments, window_column="paid_at")
    write(landing, "a.jsonl", ("P1", 1), ("P2", 2), (None, 3))
    script = textwrap.dedent(
        """
        import os, pickle, sys
        from lakehouse.contracts import Declarations
        from lakehouse.iceberg import Lake, LakeTable
        from lakehouse.ingest import load
        from lakehouse.quality.gate import Gate

        settings, table = pickle.load(open(sys.argv[1], "rb"))
        lake = Lake.open(settings)

        class Dying(Gate):
            def audit(self, name, **choice):
                os.kill(os.getpid(), 9)

        load(settings, lake, table, run_id="killed", gate=Dying(settings, lake, Declarations([table])))
        """
    )
    (tmp_path / "task").write_bytes(pickle.dumps((landing, windowed)))
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path / "task")], check=False, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    target = lake.table(payments.name)
    assert (ids(lake, payments), len(target.branches())) == ([], 1)

    result = run(landing, windowed)
    assert (ids(lake, payments), target.branches()) == (["P1", "P2"], ())
    assert (result.rows_read, result.rows_published, result.rows_quarantined, result.rows_seen) == (3, 2, 1, 0)
    assert [str(window) for window in result.windows] == ["[2026-01-01, 2026-01-02)"]
    assert {rule: broken.rows for rule, broken in result.broken.items()} == {"payment_id_not_null": 1}
    assert lake.table(LOADS.name).stats().rows == 1


def test_of_two_loads_of_different_intervals_one_is_fenced(landing: Settings, lake: Lake, payments: Table) -> None:
    write(landing, "a.jsonl", ("P1", 1))

    class Overtaken(Gate):
        """While it judges, another load is faster."""

        def audit(self, *words, **choice):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202  (the gate's)
            if self.faster:
                self.faster = False
                write(landing, "b.jsonl", ("P2", 2))
                run(landing, payments)
            return super().audit(*words, **choice)

        faster = True

    with pytest.raises(Fenced, match="faster"):
        load(landing, lake, payments, run_id="slow", gate=Overtaken(landing, lake, Declarations([payments])))
    assert (ids(lake, payments), lake.table(payments.name).branches()) == (["P1", "P2"], ())
    assert run(landing, payments).commit is None


def test_without_a_blocking_rule_main_is_judged_and_warnings_hold_nothing(
    landing: Settings, lake: Lake, payments: Table
) -> None:
    warnings = replace(
        payments,
        rules=(*payments.rules, Rule("even", "amount % 2 = 0", Severity.WARNING, "amount")),
        table_rules=(replace(SMALL, severity=Severity.WARNING),),
    )
    write(landing, "a.jsonl", ("P1", 1), ("P2", 200))
    result = run(landing, warnings)
    assert ids(lake, payments) == ["P1", "P2"]
    assert [(found.rule, found.passed, found.blocks, found.branch) for found in result.findings] == [
        ("even", False, False, "main"),
        ("no_large_payment", False, False, "main"),
    ]


def test_a_load_of_nothing_new_still_asks_how_fresh_main_is(landing: Settings, lake: Lake, payments: Table) -> None:
    fresh = TableRule("fresh", TableRuleKind.FRESH, ("paid_at",), {"within": timedelta(days=1)}, Severity.WARNING)
    table = replace(payments, table_rules=(SMALL, fresh))
    write(landing, "a.jsonl", ("P1", 1))
    run(landing, table)
    result = run(landing, table)
    assert result.commit is None
    assert [(found.rule, found.passed) for found in result.findings] == [("fresh", False)]
    blocking = replace(table, table_rules=(replace(fresh, severity=Severity.ERROR),))
    with pytest.raises(AuditFailed, match=r"fresh of bronze\.payments failed"):
        run(landing, blocking)
    assert lake.table(payments.name).branches() == ()
