"""Runs whose rows break rules: what Dagster shows of it, what main shows, and what the lake remembers. In order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.runs import RunReport
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Till

BRONZE, SILVER, GOLD = (TableName.parse(name) for name in ("bronze.receipts", "silver.receipts", "gold.takings"))


@pytest.fixture(scope="module")
def good(till: Till) -> RunReport:
    """A first delivery that breaks warnings only, loaded and built."""
    till.deliver((2, 100), (4, 250), (5, 50))
    till.run(BRONZE)
    return till.run(SILVER, GOLD)


@pytest.fixture(scope="module")
def held(till: Till, good: RunReport) -> tuple[list[int], RunReport]:
    """Heads of silver and gold before, and a build whose silver table breaks a blocking rule."""
    assert good.success
    till.deliver((6, 10_001), (8, 20_000))
    assert till.run(BRONZE).success
    return till.heads(SILVER, GOLD), till.run(SILVER, GOLD)


def shown(check: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {key: value.value for key, value in check.metadata.items()}


def test_warnings_hold_nothing_back(till: Till, good: RunReport) -> None:
    assert good.success
    told = {(str(name), check): (passed, severity) for name, check, passed, severity in good.checks}
    assert told["silver.receipts", "few_rows"] == (False, "WARN")
    assert {key for key, (passed, _) in told.items() if not passed} == {("silver.receipts", "few_rows")}
    # The test that somebody wrote, the rule of a library and those of the contract; each once.
    assert {
        ("gold.takings", "takings_are_modest"),
        ("silver.receipts", "mean_amount"),
        ("gold.takings", "adds_up"),
    } <= set(told)
    assert len(told) == len(good.checks)
    kept = till.checks(good.run_id)
    assert (
        {key for key, row in kept.items() if row["published"]}
        == set(kept)
        == set(told) - {("gold.takings", "takings_are_modest")}
    )


def test_a_blocking_rule_fails_the_run_and_changes_neither_silver_nor_gold(
    till: Till, held: tuple[list[int], RunReport]
) -> None:
    heads, report = held
    assert not report.success
    assert till.heads(SILVER, GOLD) == heads
    (failure,) = report.failures
    assert failure.finding
    branch = f"run/{report.run_id[:8]}-models"
    for words in (
        "rule no_large_amount of silver.receipts failed",
        "2 of 5",
        branch,
        "gold.takings",
        "lakehouse branch",
    ):
        assert words in failure.reason
    assert till.lake.table(SILVER).branches() == (branch,)
    assert dict(report.seconds) == {}
    # Of gold nothing was judged.
    assert {str(name) for name, _, _, _ in report.checks} == {"silver.receipts"}


def test_the_failed_check_shows_what_was_found_and_where(till: Till, held: tuple[list[int], RunReport]) -> None:
    _, report = held
    failed = till.evaluations(report.run_id)["silver.receipts", "no_large_amount"]
    assert (failed.passed, failed.severity, failed.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    metadata = shown(failed)
    assert {name: metadata[name] for name in ("severity", "failed_rows", "failed_share", "rows", "branch")} == {
        "severity": "error",
        "failed_rows": 2,
        "failed_share": pytest.approx(0.4),
        "rows": 5,
        "branch": f"run/{report.run_id[:8]}-models",
    }
    assert metadata["description"] == "No receipt is above 100.00"
    sample = str(metadata["sample"])
    assert "10001" in sample
    assert "Ada" not in sample
    assert "•••" in sample
    assert "silver.receipts" in str(metadata["sql"])
    assert metadata["snapshot_id"] == str(till.lake.table(SILVER).snapshots(str(metadata["branch"]))[0].id)


def test_the_lake_remembers_what_was_not_published(till: Till, held: tuple[list[int], RunReport]) -> None:
    _, report = held
    kept = till.checks(report.run_id)
    row = kept["silver.receipts", "no_large_amount"]
    assert (row["outcome"], row["severity"], row["rows_failed"]) == ("failed", "error", 2)
    assert {row["published"] for row in kept.values()} == {False}
    assert "Ada" not in json.dumps(row["sample"])


def test_checks_alone_judge_main_and_build_nothing(till: Till, held: tuple[list[int], RunReport]) -> None:
    heads, _ = held
    keys = [
        dg.AssetCheckKey(dg.AssetKey(["silver", "receipts"]), "no_large_amount"),
        dg.AssetCheckKey(dg.AssetKey(["gold", "takings"]), "takings_are_modest"),
        dg.AssetCheckKey(dg.AssetKey(["bronze", "receipts"]), "even_number"),
    ]
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(*keys))
    job = dg.Definitions.merge(till.defs, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    with open_instance(till.settings) as instance:
        result = job.execute_in_process(instance=instance)
    assert result.success
    assert not result.get_asset_materialization_events()
    found = {(one.asset_key.path[0], one.check_name): one.passed for one in result.get_asset_check_evaluations()}
    assert found == {
        ("silver", "no_large_amount"): True,
        ("gold", "takings_are_modest"): True,
        ("bronze", "even_number"): False,
    }
    assert till.heads(SILVER, GOLD) == heads
    assert {row["published"] for row in till.checks(result.run_id).values()} == {True}
    assert {row["branch"] for row in till.checks(result.run_id).values()} == {"main"}


def test_a_bad_delivery_waits_on_its_branch_and_the_mended_one_is_loaded(
    till: Till,
) -> None:
    till.deliver((16, 5))
    till.run(BRONZE)
    rows = till.lake.table(BRONZE).stats().rows
    till.deliver((1001, 5), (10, 7), (12, -1))
    report = till.run(BRONZE)
    assert not report.success
    (failure,) = report.failures
    assert failure.finding
    assert "rule not_a_test of bronze.receipts failed" in failure.reason
    assert "lakehouse branch show bronze.receipts load/" in failure.reason
    assert till.lake.table(BRONZE).stats().rows == rows
    told = till.evaluations(report.run_id)
    assert {
        name: told["bronze.receipts", name].passed for name in ("not_a_test", "every_row_accounted_for", "types_fit")
    } == {
        "not_a_test": False,
        "every_row_accounted_for": True,
        "types_fit": True,
    }
    at_the_door = told["bronze.receipts", "amount_minimum"]
    assert (at_the_door.passed, at_the_door.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (shown(at_the_door)["failed_rows"], "-1" in str(shown(at_the_door)["sample"])) == (1, True)
    assert {row["published"] for row in till.checks(report.run_id).values()} == {False}

    newest = max((till.settings.state / "landing").iterdir())
    newest.write_text(newest.read_text().replace("1001", "14"))
    assert till.run(BRONZE).success
    table = till.lake.table(BRONZE)
    assert (table.stats().rows, table.branches()) == (rows + 2, ())


def test_docs_that_cannot_be_written_hide_nothing_and_fail_the_run_at_its_end(till: Till) -> None:
    docs = till.settings.state / "docs"
    if docs.exists():
        docs.rename(till.settings.state / "docs-aside")
    docs.write_text("a file in their place")
    try:
        till.deliver((18, 5))
        report = till.run(BRONZE)
    finally:
        docs.unlink()
    assert not report.success
    (failure,) = report.failures
    assert not failure.finding
    assert "data docs cannot be written" in failure.reason
    # The rows are there, and so is what was found.
    assert set(report.seconds) == {BRONZE}
    assert ("bronze.receipts", "not_a_test") in till.evaluations(report.run_id)
    assert {row["published"] for row in till.checks(report.run_id).values()} == {True}
