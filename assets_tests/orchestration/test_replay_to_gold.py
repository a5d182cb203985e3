"""A replay goes on as any load does: the sensor asks for what reads the table, and each row comes to gold once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from assets_tests.orchestration.conftest import BRONZE, GOLD, SILVER, Till, write_till
from lakehouse.contracts import read_tables
from lakehouse.ingest import ReplayResult
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.project import definitions, ready_models
from lakehouse.orchestration.rejects import run_rejects
from lakehouse.settings import Settings
from lakehouse.tables import TableName

QUARANTINE = TableName.parse("quarantine.till_receipts")
STRICT, MENDED = "minimum: 500", "minimum: 0"


def say(settings: Settings, before: str, now: str) -> Till:
    """The project once its bronze contract says something else of amounts, as a reload of its definitions has it."""
    contract = settings.defs[0] / "till" / "bronze" / "receipts.yaml"
    said = contract.read_text()
    assert before in said
    contract.write_text(said.replace(before, now))
    ready_models(settings)
    return Till(settings, definitions(settings))


@dataclass
class Changes:
    """The sensor `changes` of a project, and what it remembers."""

    till: Till
    cursor: str | None = None

    def tick(self) -> list[TableName]:
        """The tables that one tick asks for."""
        repository = self.till.defs.get_repository_def()
        with open_instance(self.till.settings) as instance:
            context = dg.build_sensor_context(instance=instance, cursor=self.cursor, repository_def=repository)
            told = repository.get_sensor_def("changes").evaluate_tick(context)
        self.cursor = told.cursor
        keys = [key for request in told.run_requests or () for key in request.asset_selection or ()]
        return sorted(TableName.parse(".".join(key.path)) for key in keys)


def replayed(till: Till) -> ReplayResult:
    done = run_rejects(till.settings, read_tables(till.settings.defs), "replay", {"table": str(BRONZE)})
    assert isinstance(done.outcome, ReplayResult), done.failures
    return done.outcome


def column(till: Till, table: TableName, name: str) -> list[object]:
    return sorted(till.lake.table(table).scan(columns=[name]).read_all().column(0).to_pylist())


@pytest.fixture
def strict(tmp_path: Path) -> Till:
    """A till that takes no receipt below 5.00: one of three is turned away, and the other two are in gold."""
    till = say(write_till(tmp_path / "till"), MENDED, STRICT)
    till.deliver((2, 300), (4, 700), (6, 900))
    assert till.run(BRONZE, SILVER, GOLD).success
    assert (column(till, SILVER, "number"), column(till, GOLD, "amount")) == ([4, 6], [1600])
    return till


def test_a_replayed_row_reaches_silver_and_gold_once(strict: Till) -> None:
    changes = Changes(strict)
    assert changes.tick() == []
    till = changes.till = say(strict.settings, STRICT, MENDED)
    assert (replayed(till).entered, column(till, QUARANTINE, "state")) == (1, ["replayed"])

    asked = changes.tick()
    assert asked == sorted([SILVER, GOLD])
    assert till.run(*asked).success
    for table in (BRONZE, SILVER):
        assert column(till, table, "number") == [2, 4, 6]
    assert column(till, GOLD, "amount") == [1900]

    # Once more, nothing is left to do, and nobody asks for anything.
    assert replayed(till).tried == 0
    assert changes.tick() == []
    assert till.run(BRONZE, SILVER, GOLD).success
    assert Counter(column(till, SILVER, "number")) == {2: 1, 4: 1, 6: 1}
    assert (column(till, GOLD, "amount"), column(till, QUARANTINE, "state")) == ([1900], ["replayed"])
