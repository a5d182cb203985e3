"""What a run's end means for the person who started it: well, findings, or an error in the words it was raised with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from lakehouse.errors import CommitConflict, LoadRejected, ServiceError, SourceUnreachable, StateError
from lakehouse.orchestration.demo import Outcome
from lakehouse.orchestration.home import check_port, child_environment, open_instance, prepare_home
from lakehouse.orchestration.metadata import preview
from lakehouse.orchestration.runs import RunReport, StepFailure, run_tables
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ORDERS = TableName(Layer.BRONZE, "orders")
CUSTOMERS = TableName(Layer.BRONZE, "customers")


def unreachable() -> None:
    cause = ConnectionRefusedError(111, "refused: password=hunter2")
    raise SourceUnreachable("source 'erp' does not answer", found="refused", remedy="Start it.") from cause


def rejected() -> None:
    raise LoadRejected("bronze.orders: 9 of 10 rows break the contract", remedy="Mend the source.")


def conflict() -> None:
    raise CommitConflict("somebody was faster", remedy="Run again.")


def held() -> None:
    raise dg.Failure("kept on branch run/1, main unchanged: silver.orders", allow_retries=False)


def mistake() -> None:
    raise KeyError("nobody thought of this")


def asset(name: TableName, act: Callable[[], None] | None = None) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="__".join(name.key),
        specs=[dg.AssetSpec(list(name.key))],
        check_specs=[dg.AssetCheckSpec("balance", asset=list(name.key), blocking=True)],
    )
    def load() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        if act is not None:
            act()
        yield dg.AssetCheckResult(asset_key=dg.AssetKey(list(name.key)), check_name="balance", passed=True)
        yield dg.MaterializeResult(asset_key=dg.AssetKey(list(name.key)), metadata={"lakehouse/seconds": 0.5})

    return load


def report_of(settings: Settings, act: Callable[[], None] | None) -> RunReport:
    defs = dg.Definitions(assets=[asset(ORDERS, act), asset(CUSTOMERS)])
    with open_instance(settings) as instance:
        return run_tables(defs, instance, [ORDERS, CUSTOMERS])


@pytest.mark.parametrize(
    ("act", "reason", "finding", "code"),
    [
        (unreachable, "source 'erp' does not answer; found refused. Start it.", False, 2),
        (conflict, "somebody was faster. Run again.", False, 2),
        (rejected, "bronze.orders: 9 of 10 rows break the contract. Mend the source.", True, 1),
        (held, "kept on branch run/1, main unchanged: silver.orders", True, 1),
    ],
)
def test_a_failed_step_says_what_was_raised_and_what_it_means(
    settings: Settings, act: Callable[[], None], reason: str, *, finding: bool, code: int
) -> None:
    report = report_of(settings, act)

    assert not report.success
    assert report.failures == (StepFailure("bronze.orders", reason, finding=finding),)
    outcome = Outcome()
    assert outcome.add(report) is False
    assert outcome.exit_code == code
    # The other table of the run is there all the same.
    assert dict(report.seconds) == {CUSTOMERS: 0.5}
    assert outcome.count() == {"passed": 1, "warned": 0, "failed": 0}


def test_a_mistake_of_ours_is_an_error_that_says_where_to_look(settings: Settings) -> None:
    (failure,) = report_of(settings, mistake).failures
    assert failure.finding is False
    assert "nobody thought of this" in failure.reason
    assert "log of the run" in failure.reason


def test_a_run_that_goes_well_is_in_the_instance(settings: Settings) -> None:
    report = report_of(settings, None)
    assert (report.success, report.failures) == (True, ())
    outcome = Outcome()
    assert outcome.add(report)
    assert (outcome.exit_code, outcome.runs) == (0, [report.run_id])
    with open_instance(settings) as instance:
        run = instance.get_run_by_id(report.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS


def outcome_of(*checks: tuple[str, bool, str], failures: tuple[StepFailure, ...] = ()) -> Outcome:
    outcome = Outcome()
    judged = tuple((ORDERS, name, passed, severity) for name, passed, severity in checks)
    outcome.add(RunReport("r1", not failures, {ORDERS: 1.0}, (), judged, failures))
    return outcome


def test_warnings_are_no_findings_and_failed_checks_are() -> None:
    warned = outcome_of(("a", True, "ERROR"), ("b", False, "WARN"))
    assert (warned.exit_code, warned.count()) == (0, {"passed": 1, "warned": 1, "failed": 0})
    failed = outcome_of(("a", False, "ERROR"), ("b", False, "WARN"))
    assert (failed.exit_code, failed.count()) == (1, {"passed": 0, "warned": 1, "failed": 1})


def test_an_error_outweighs_findings() -> None:
    finding, error = StepFailure("a", "held", finding=True), StepFailure("b", "gone", finding=False)
    assert outcome_of(failures=(finding,)).exit_code == 1
    assert outcome_of(failures=(finding, error)).exit_code == 2


def test_one_reason_is_said_once_with_all_it_stopped() -> None:
    gone = [StepFailure(f"bronze.{name}", "the database is gone", finding=False) for name in ("a", "b", "a")]
    other = StepFailure("bronze.c", "no such file", finding=False)
    assert outcome_of(failures=(*gone, other)).reasons() == {
        "the database is gone": ["bronze.a", "bronze.b"],
        "no such file": ["bronze.c"],
    }


def test_the_last_result_of_a_check_counts() -> None:
    outcome = outcome_of(("a", False, "ERROR"))
    outcome.add(RunReport("r2", success=True, seconds={ORDERS: 2.0}, windows=(), checks=((ORDERS, "a", True, "ERROR"),),
                          failures=()))  # fmt: skip
    assert (outcome.count(ORDERS), outcome.count(CUSTOMERS)) == (
        {"passed": 1, "warned": 0, "failed": 0},
        {"passed": 0, "warned": 0, "failed": 0},
    )
    assert outcome.seconds == {ORDERS: 3.0}


def test_windows_are_those_that_the_loads_touched(settings: Settings) -> None:
    @dg.asset(key=list(ORDERS.key))
    def orders() -> dg.MaterializeResult[None]:
        days = dg.MetadataValue.json([["2026-01-01", "2026-01-03"], ["2026-01-09", "2026-01-10"]])
        return dg.MaterializeResult(metadata={"lakehouse/changed_days": days})

    with open_instance(settings) as instance:
        report = run_tables(dg.Definitions(assets=[orders]), instance, [ORDERS])
    assert [str(window) for window in report.windows] == ["[2026-01-01, 2026-01-03)", "[2026-01-09, 2026-01-10)"]
    assert all(isinstance(window, Window) for window in report.windows)


def test_a_preview_masks_personal_columns_and_stays_a_table() -> None:
    columns = (Column("id", "long"), Column("email", "string", personal=True), Column("note", "string"))
    table = Table(ORDERS, "shop", "", columns, Path("x.yaml"))
    rows = [{"id": n, "email": f"a{n}@example.com", "note": "a|b\nc" if n else "x" * 99} for n in range(12)]
    rows[1]["email"] = None
    text = preview(table, pa.Table.from_pylist(rows))

    lines = text.splitlines()
    assert lines[:2] == ["| id | email | note |", "| --- | --- | --- |"]
    assert len(lines) == 2 + 10
    assert "@" not in text
    assert lines[2] == f"| 0 | ••• | {'x' * 39}… |"
    assert lines[3] == "| 1 |  | a\\|b c |"


def test_a_run_that_fails_before_its_first_step_says_why(settings: Settings) -> None:
    @dg.resource
    def cloud() -> None:
        raise SourceUnreachable("s3://lake cannot be reached", remedy="Start it.")

    @dg.multi_asset(specs=[dg.AssetSpec(list(ORDERS.key))], required_resource_keys={"cloud"})
    def load() -> Iterator[dg.MaterializeResult[None]]:
        yield dg.MaterializeResult(asset_key=dg.AssetKey(list(ORDERS.key)))

    with open_instance(settings) as instance:
        report = run_tables(dg.Definitions(assets=[load], resources={"cloud": cloud}), instance, [ORDERS])
    assert not report.success
    (failure,) = report.failures
    assert not failure.finding
    assert "cloud" in failure.reason


def test_home_is_made_once_and_stays_the_users(settings: Settings) -> None:
    file = prepare_home(settings) / "dagster.yaml"
    assert "telemetry: {enabled: false}" in file.read_text()
    file.write_text("telemetry: {enabled: false}\n# mine\n")
    prepare_home(settings)
    assert "# mine" in file.read_text()
    assert child_environment(settings)["DAGSTER_HOME"] == str(file.parent)
    assert child_environment(settings)["LAKEHOUSE_PROJECT"] == str(settings.project)


def test_a_home_that_cannot_be_made_is_a_state_error(settings: Settings) -> None:
    settings.dagster_home.write_text("a file in its place")
    with pytest.raises(StateError, match="cannot be written to") as refused:
        prepare_home(settings)
    assert "LAKEHOUSE_STATE" in refused.value.remedy


def test_a_taken_port_is_noticed_and_a_free_one_is_not() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} on 127.0.0.1 is in use"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
