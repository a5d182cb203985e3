"""What the gate found, as a build's events: by hand, without dbt, so that every answer of the gate can be given."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from lakehouse.contracts import Declarations, read_tables
from lakehouse.errors import CatalogError, LakehouseError, TableMissing
from lakehouse.iceberg import Lake
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Severity, TableName
from lakehouse.transform.audits import Audits
from lakehouse.transform.events import ModelFinished, RawNode, Status, TestFinished, error_of
from lakehouse.transform.manifest import Manifest, Model, Test
from lakehouse.transform.publish import audited_snapshots, decide

ORDERS = TableName.parse("silver.orders")
MODEL = Model("model.orders", "silver", "orders", "iceberg", "orders.sql", "", "", ())
AUDIT = Test("test.audit", "silver_orders_audit", MODEL.unique_id, (MODEL.unique_id,), blocking=True, unit=False)


def finding(
    rule: str, outcome: Outcome = Outcome.PASSED, *, severity: Severity = Severity.ERROR, snapshot: int | None = 7
) -> Finding:
    return Finding(ORDERS, rule, severity, outcome, "", "3 of 1,200 rows", branch="run/1", snapshot_id=snapshot)


GOOD, BROKEN = finding("good"), finding("broken", Outcome.FAILED)
DOUBTFUL = finding("doubtful", Outcome.FAILED, severity=Severity.WARNING)
UNCLEAR = finding("unclear", Outcome.ERROR, snapshot=None)


class Told(Gate):
    """A gate that answers what it was told to, and remembers what it was asked."""

    def __init__(self, settings: Settings, answer: Collection[Finding] | Exception) -> None:
        super().__init__(settings, Lake.open(settings), Declarations({}))
        self.answer = answer
        self.asked: list[tuple[TableName, str, Collection[str] | None]] = []

    def audit(self, name: TableName, *, at: str = "main", rules: Collection[str] | None = None) -> tuple[Finding, ...]:
        self.asked.append((name, at, rules))
        if isinstance(self.answer, Exception):
            raise self.answer
        return tuple(self.answer)


def node(status: Status = Status.PASS, error: LakehouseError | None = None) -> RawNode:
    return RawNode(AUDIT.unique_id, status, 0.1, "", 0, None, error)


def manifest(*rules: str) -> Manifest:
    test = Test(AUDIT.unique_id, AUDIT.name, AUDIT.owner, AUDIT.models, blocking=True, unit=False, audit=rules)
    return Manifest({MODEL.unique_id: MODEL}, {test.unique_id: test})


def audited(settings: Settings, *findings: Finding) -> tuple[TestFinished, int]:
    """The event of an audit that found this, and how many broken rules dbt was told of."""
    known = manifest(*(found.rule for found in findings))
    audits = Audits(Told(settings, findings), known, "run/1")
    answer = json.loads(json.dumps(audits.answer(AUDIT.unique_id)))
    assert answer["error"] is None
    status = Status.FAIL if answer["broken"] else Status.PASS
    return audits.finished(node(status), known.tests[AUDIT.unique_id]), answer["broken"]


@pytest.mark.parametrize(
    ("findings", "status", "broken"),
    [
        ((GOOD,), Status.PASS, 0),
        ((GOOD, DOUBTFUL), Status.WARN, 0),
        ((GOOD, DOUBTFUL, BROKEN), Status.FAIL, 1),
        ((BROKEN, UNCLEAR), Status.FAIL, 2),
    ],
)
def test_blocking_rules_fail_an_audit_and_warnings_only_warn(
    settings: Settings, findings: tuple[Finding, ...], status: Status, broken: int
) -> None:
    event, told = audited(settings, *findings)

    assert (event.status, event.failures, told) == (status, broken, broken)
    assert event.findings == findings


def test_a_warning_holds_nothing_and_a_broken_rule_is_quoted(settings: Settings) -> None:
    written = ModelFinished(MODEL.unique_id, MODEL.label, ORDERS, Status.SUCCESS, 0.1)
    graph = manifest("good")

    warned, _ = audited(settings, GOOD, DOUBTFUL)
    failed, _ = audited(settings, GOOD, DOUBTFUL, BROKEN, UNCLEAR)

    assert decide([written, warned], graph).publish == (ORDERS,)
    assert decide([written, failed], graph).hold == {
        ORDERS: "rule broken of silver.orders failed: 3 of 1,200 rows; "
        "rule unclear of silver.orders could not be judged: 3 of 1,200 rows"
    }


def test_the_gate_is_asked_for_the_rules_of_the_test_on_the_branch(settings: Settings) -> None:
    gate = Told(settings, (GOOD, BROKEN))

    Audits(gate, manifest("good", "broken"), "run/1").answer(AUDIT.unique_id)

    assert gate.asked == [(ORDERS, "run/1", ("good", "broken"))]


def test_what_keeps_the_gate_from_judging_is_an_error_that_holds_the_table(settings: Settings) -> None:
    audits = Audits(Told(settings, CatalogError("no answer", remedy="Wait.")), manifest("good"), "run/1")
    error = error_of(json.loads(json.dumps(audits.answer(AUDIT.unique_id)))["error"])
    assert isinstance(error, CatalogError)

    event = audits.finished(node(Status.ERROR, error), manifest("good").tests[AUDIT.unique_id])

    written = ModelFinished(MODEL.unique_id, MODEL.label, ORDERS, Status.SUCCESS, 0.1)
    decision = decide([written, event], manifest("good"))
    assert decision.publish == ()
    assert decision.hold[ORDERS].startswith("test silver_orders_audit could not be run: no answer")


@pytest.mark.parametrize("judged", [(), (GOOD,)])
def test_an_audit_that_dbt_calls_good_is_an_error_when_a_rule_was_not_judged(
    settings: Settings, judged: tuple[Finding, ...]
) -> None:
    known = manifest("good", "forgotten")
    audits = Audits(Told(settings, judged), known, "run/1")
    audits.answer(AUDIT.unique_id)

    event = audits.finished(node(Status.PASS), known.tests[AUDIT.unique_id])

    assert event.status is Status.ERROR
    assert "forgotten" in event.message


def test_an_audit_that_was_not_asked_for_is_no_good_news(settings: Settings) -> None:
    known = manifest("good")
    audits = Audits(Told(settings, (GOOD,)), known, "run/1")

    assert audits.finished(node(Status.PASS), known.tests[AUDIT.unique_id]).status is Status.ERROR
    assert audits.finished(node(Status.SKIPPED), known.tests[AUDIT.unique_id]).status is Status.SKIPPED


def test_a_table_that_was_never_built_is_not_judged_and_holds_only_itself(settings: Settings) -> None:
    known = manifest("good")
    audits = Audits(Told(settings, TableMissing("not there", remedy="Build it.")), known, "run/1")
    assert audits.answer(AUDIT.unique_id) == {"error": None, "broken": 0}

    event = audits.finished(node(Status.PASS), known.tests[AUDIT.unique_id])

    assert event.status is Status.SKIPPED
    written = ModelFinished(MODEL.unique_id, MODEL.label, ORDERS, Status.SUCCESS, 0.1)
    assert decide([written, event], known).hold == {ORDERS: "test silver_orders_audit did not run"}
    assert decide([event], known).hold == {}


def test_without_a_gate_an_audit_is_an_error() -> None:
    answer = Audits(None, manifest("good"), "run/1").answer(AUDIT.unique_id)

    assert "there is no gate" in str(error_of(answer["error"]))


def test_contracts_that_changed_since_are_named(settings: Settings) -> None:
    gate = Gate(settings, Lake.open(settings), read_tables(settings.defs))

    unknown_rule = Audits(gate, manifest("no_such_rule"), "run/1").answer(AUDIT.unique_id)
    unknown_test = Audits(gate, manifest("good"), "run/1").answer("test.of_yesterday")

    assert "no_such_rule" in str(error_of(unknown_rule["error"]))
    assert "test.of_yesterday" in str(error_of(unknown_test["error"]))


def test_the_snapshots_that_were_judged_are_those_of_all_findings(settings: Settings) -> None:
    once, _ = audited(settings, GOOD, DOUBTFUL, UNCLEAR)
    again, _ = audited(settings, finding("later", snapshot=8))

    assert audited_snapshots([once]) == {ORDERS: frozenset({7})}
    assert audited_snapshots([once, again]) == {ORDERS: frozenset({7, 8})}
