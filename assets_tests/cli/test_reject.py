"""`lakehouse reject` as a user sees it: what waits, why, and how a mended contract brings it in by a run of Dagster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from assets_tests.projects import head, write
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.ingest import load
from lakehouse.orchestration.home import open_instance
from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Command

RECEIPTS = TableName.parse("bronze.receipts")
ASSET = dg.AssetKey(["bronze", "receipts"])
CONTRACT = """\
      - {name: number, logicalType: integer, primaryKey: true, required: true, description: Number of the receipt}
      - {name: amount, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}, description: Cents}
      - {name: cashier, logicalType: string, classification: personal, description: Who took the money}
customProperties:
  - {property: load, value: {source: landing, files: "*.jsonl"}}
  - {property: rejectLimit, value: 1.0}
"""
REFUND = {"number": 2, "amount": -5, "cashier": "Ada Lovelace", "note": "for Ada"}


@pytest.fixture
def till(tmp_path: Path) -> Settings:
    """A till's receipts, loaded: one is good, one is a refund, one has no amount and one is no JSON."""
    contract = head("till", "bronze", "receipts", "What the till took.") + CONTRACT
    settings = write(tmp_path / "till", {"defs/till/bronze/receipts.yaml": contract})
    (settings.state / "landing").mkdir()
    lines = [json.dumps({"number": 1, "amount": 5, "cashier": "Bo"}), json.dumps(REFUND), '{"number": 3}', "{Ada"]
    (settings.state / "landing" / "a.jsonl").write_text("\n".join(lines))
    load(settings, Lake.open(settings), read_tables(settings.defs)[RECEIPTS], run_id="load")
    return settings


@pytest.fixture
def command(till: Settings, lakehouse: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, over the till."""
    for name, value in {
        "PROJECT": till.project,
        "STATE": till.state,
        "CATALOG__URI": till.catalog.uri.get_secret_value(),
        "SOURCES__LANDING__KIND": "files",
        "SOURCES__LANDING__ROOT": "landing",
    }.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", str(value))
    return lakehouse


def answer(command: Command, *words: str, code: int = 0) -> Any:  # noqa: ANN401  (JSON)
    ended = command(*words, "--json")
    assert ended.code == code, ended
    return json.loads(ended.out)


def test_what_waits_is_listed_and_shown_without_personal_values(command: Command) -> None:
    listed = answer(command, "reject", "list", "bronze.receipts")
    assert [(one["rule"], one["state"], one["records"]) for one in listed] == [
        ("amount_minimum", "open", 1),
        ("amount_not_null", "open", 1),
        ("record_parses", "open", 1),
    ]
    assert answer(command, "reject", "list", "--state", "held") == []
    (refund,) = answer(command, "reject", "show", "bronze.receipts", "--rule", "amount_minimum")
    assert json.loads(refund["payload"]) == {"number": 2, "amount": -5, "cashier": "•••", "note": "•••"}
    assert (refund["found"], refund["state"]) == ('{"amount": "-5"}', "open")
    assert json.loads(refund["parsed"]) == {"number": "2", "amount": "-5", "cashier": "•••"}
    (junk,) = answer(command, "reject", "show", "bronze.receipts", "--rule", "record_parses")
    assert junk["payload"] == "•••"
    (bare,) = answer(command, "reject", "show", "bronze.receipts", refund["reject_id"][:12], "--unmask")
    assert json.loads(bare["payload"]) == REFUND
    shown = command("reject", "show", "bronze.receipts", "--limit", "1")
    assert "and 2 more" in shown.out
    assert "Ada" not in shown.out
    assert "expected" in command("reject", "list", "--state", "lost").err
    assert "bronze.receipts" in command("reject", "list", "gold.takings").err


def test_a_mended_contract_and_a_replay_bring_a_row_in(till: Settings, command: Command) -> None:
    contract = till.project / "defs/till/bronze/receipts.yaml"
    contract.write_text(contract.read_text().replace("minimum: 0", "minimum: -100"))
    dry = answer(command, "reject", "replay", "bronze.receipts", "--dry-run", code=1)
    assert (dry["tried"], dry["would_enter"], dry["still_broken"]) == (3, 1, 2)
    done = answer(command, "reject", "replay", "bronze.receipts", code=1)
    assert (done["tried"], done["entered"], done["still_broken"]) == (3, 1, 2)
    assert done["by_rule"] == {"amount_not_null": 1, "record_parses": 1}
    numbers = Lake.open(till).table(RECEIPTS).scan(columns=["number"]).read_all().column(0).to_pylist()
    assert sorted(numbers) == [1, 2]

    run_id = done["run"].rpartition("/")[2]
    with open_instance(till) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert (run.job_name, run.status) == ("replay", dg.DagsterRunStatus.SUCCESS)
        materialized = instance.get_latest_materialization_event(ASSET)
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(ASSET, "no_row_quarantined")]
        )
    assert materialized is not None
    assert materialized.asset_materialization is not None
    told = materialized.asset_materialization.metadata
    assert (told["lakehouse/tried"].value, told["lakehouse/passed"].value) == (3, 1)
    assert "amount_not_null" in str(told["lakehouse/still_broken_by_rule"].value)
    (check,) = checks.values()
    assert check.status.value == "FAILED"

    ended = command("reject", "replay", "bronze.receipts", "--rule", "amount_minimum")
    assert (ended.code, "tried" in ended.out, "/runs/" in ended.err) == (0, True, True)


def test_what_nobody_needs_is_discarded_with_a_reason(command: Command) -> None:
    said = ("reject", "discard", "bronze.receipts", "--rule", "record_parses", "--why", "the till was tested")
    assert answer(command, *said, "--dry-run")["would_be_discarded"] == 1
    assert answer(command, *said)["discarded"] == 1
    (gone,) = answer(command, "reject", "show", "bronze.receipts", "--state", "discarded")
    assert gone["why"] == "the till was tested"
    ended = command("reject", "replay", "bronze.receipts", "--rule", "record_parses")
    assert (ended.code, "No open record of bronze.receipts broke 'record_parses'" in ended.err) == (0, True)
    assert "discarded" in ended.out
    failed = command("reject", "discard", "bronze.receipts", gone["reject_id"], "--why", "again")
    assert (failed.code, "is not open" in failed.err) == (2, True)
    unsaid = command("reject", "discard", "bronze.receipts", "--why", "all of them")
    assert (unsaid.code, "which records" in unsaid.err) == (2, True)
