"""Files that arrive become events of their own days and ask for one load: over a real folder and a real instance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets_tests.changes.conftest import PAID, PAYMENTS, Chain
from assets_tests.orchestration.asking import JOBS, Asking, graph_of
from lakehouse.errors import SourceUnreachable
from lakehouse.iceberg import Lake, connect
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.orchestration.arrivals import landing_sensors
from lakehouse.orchestration.specs import source_spec
from lakehouse.settings import Automation, FilesSource, Settings
from lakehouse.sources import open_source
from lakehouse.tables import LoadPolicy, Table

MODIFIED = datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()
LOADED = replace(PAYMENTS, load=LoadPolicy("landing", {"files": "payments/**/*.jsonl"}))


@dataclass
class Landing:
    """A folder, the sensor that looks at it, and what the last tick gave."""

    folder: Path
    asking: Asking
    sensor: dg.SensorDefinition
    cursor: str | None = None
    requests: list[dg.RunRequest] = field(default_factory=list)
    events: dict[str, dg.AssetMaterialization] = field(default_factory=dict)
    said: str = ""

    def deliver(self, name: str, text: str = "{}\n") -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        os.utime(self.folder / name, (MODIFIED, MODIFIED))

    def tick(self) -> list[str]:
        """The days that were told of."""
        repository = self.asking.defs.get_repository_def()
        context = dg.build_sensor_context(instance=self.asking.instance, cursor=self.cursor, repository_def=repository)
        told = self.sensor.evaluate_tick(context)
        self.cursor, self.said = told.cursor, told.skip_message or ""
        self.requests = list(told.run_requests or ())
        self.events = {
            event.partition or "": event for event in told.asset_events if isinstance(event, dg.AssetMaterialization)
        }
        return sorted(self.events)

    def under(self, table: Table) -> None:
        """As after a reload of the code, with another contract."""
        self.asking.chain.add(table)
        (self.sensor,) = landing_sensors(self.asking.chain.settings, graph_of(self.asking.chain), JOBS)


@pytest.fixture
def landing(settings: Settings) -> Iterator[Landing]:
    landed = settings.model_copy(update={"sources": {"landing": FilesSource(root="landing", settle=0)}})
    chain = Chain(landed, Lake.open(landed), connect(landed))
    chain.add(LOADED)
    folder = landed.state / "landing" / "payments"
    folder.mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        (sensor,) = landing_sensors(landed, graph_of(chain), JOBS)
        yield Landing(folder, Asking(chain, instance), sensor)


def test_each_delivery_is_told_on_its_own_day_and_asks_for_one_load(landing: Landing) -> None:
    landing.deliver("payments-2026-01-03.jsonl", "{}\n" * 5)
    landing.deliver("payments-2026-01-09.jsonl")
    assert landing.tick() == ["2026-01-03", "2026-01-09"]
    (request,) = landing.requests
    # The load, and what has no days and reads it: one run, after which everything that is asked for can be seen.
    assert {".".join(key.path) for key in request.asset_selection or ()} == {str(LOADED.name), str(PAID.name)}
    late = landing.events["2026-01-03"]
    assert late.asset_key.path == ["source", "landing", "payments"]
    assert {name: value.value for name, value in late.metadata.items()} == {
        "lakehouse/files": 1,
        "lakehouse/bytes": 15,
        "lakehouse/newest": "2026-01-10T12:00:00+00:00",
        "lakehouse/days_late": 6,
        "lakehouse/paths": ["payments/payments-2026-01-03.jsonl"],
    }
    assert late.description == "payments/payments-2026-01-03.jsonl arrived, 6 days late"
    assert landing.tick() == []
    assert landing.said == "no file arrived or changed"


def test_a_file_that_comes_when_the_next_day_is_over_is_one_day_late(landing: Landing) -> None:
    landing.deliver("payments-2026-01-08.jsonl")
    landing.tick()
    (event,) = landing.events.values()
    assert event.description == "payments/payments-2026-01-08.jsonl arrived, 1 day late"
    assert event.metadata["lakehouse/days_late"].value == 1


def test_a_file_in_time_is_not_late(landing: Landing) -> None:
    landing.deliver("payments-2026-01-10.jsonl")
    landing.deliver("2026/01/09/payments.jsonl")
    landing.deliver("of-the-day-it-was-written.jsonl")
    landing.tick()
    assert {day: event.metadata["lakehouse/days_late"].value for day, event in landing.events.items()} == {
        "2026-01-09": 0,
        "2026-01-10": 0,
    }
    assert not any("late" in (event.description or "") for event in landing.events.values())
    assert landing.events["2026-01-10"].metadata["lakehouse/files"].value == 2


@pytest.mark.parametrize("change", ["replaced", "another file", "taken away"])
def test_a_day_whose_files_change_is_told_again_and_no_other(landing: Landing, change: str) -> None:
    landing.deliver("payments-2026-01-03.jsonl")
    landing.deliver("payments-2026-01-03-b.jsonl")
    landing.deliver("payments-2026-01-09.jsonl")
    landing.tick()
    first = landing.requests[0].run_key
    match change:
        case "replaced":
            landing.deliver("payments-2026-01-03.jsonl", '{"payment_id": 1}\n')
        case "another file":
            landing.deliver("payments-2026-01-03-c.jsonl")
        case _:
            (landing.folder / "payments-2026-01-03-b.jsonl").unlink()
    assert landing.tick() == ["2026-01-03"]
    assert landing.requests[0].run_key != first


def test_what_arrives_while_a_load_runs_waits_for_one_load_after_it(landing: Landing) -> None:
    running = landing.asking.begin(PAYMENTS)
    landing.deliver("payments-2026-01-03.jsonl")
    assert landing.tick() == []
    assert landing.said == "files arrived; a load of bronze.payments is under way"
    landing.deliver("payments-2026-01-04.jsonl")
    assert landing.tick() == []
    landing.asking.instance.report_run_failed(running)
    assert landing.tick() == ["2026-01-03", "2026-01-04"]
    assert len(landing.requests) == 1


def test_a_restarted_daemon_asks_for_the_same_run(landing: Landing) -> None:
    landing.deliver("payments-2026-01-03.jsonl")
    landing.tick()
    first, landing.cursor = landing.requests, None
    landing.tick()
    assert [request.run_key for request in landing.requests] == [request.run_key for request in first]


def test_the_cursor_of_an_older_release_tells_all_days_once_more(landing: Landing) -> None:
    landing.deliver("payments-2026-01-03.jsonl")
    landing.cursor = "5f0c1a2b3c4d5e6f"
    assert landing.tick() == ["2026-01-03"]
    assert landing.tick() == []


def test_what_is_remembered_grows_with_days_and_not_with_files(landing: Landing) -> None:
    for number in range(200):
        landing.deliver(f"2026-01-0{number % 2 + 1}/{number}.jsonl")
    assert landing.tick() == ["2026-01-01", "2026-01-02"]
    assert len(landing.events["2026-01-01"].metadata["lakehouse/paths"].value) == 20
    assert set(json.loads(landing.cursor or "")) == {"2026-01-01", "2026-01-02", "contract"}
    assert len(landing.cursor or "") < 150


def test_what_a_contract_held_back_is_asked_for_again_when_it_says_something_else(landing: Landing) -> None:
    landing.deliver("payments-2026-01-03.jsonl")
    landing.tick()
    asked = landing.requests[0].run_key
    assert (landing.tick(), landing.requests) == ([], [])

    landing.under(replace(LOADED, version="1.1.0"))
    assert landing.tick() == []
    (request,) = landing.requests
    assert request.run_key != asked
    assert (landing.tick(), landing.requests) == ([], [])

    # What it let through is not asked for again.
    chain = landing.asking.chain
    reader = open_source(chain.settings, LOADED)
    extract = reader.read(None)
    assert extract is not None
    list(extract.chunks)
    table = chain.lake.create(LOADED)
    table.append(table.schema().empty_table(), run_key="loaded", progress={LOAD_SCOPE: extract.reached})
    landing.under(replace(LOADED, version="1.2.0"))
    assert [(landing.tick(), landing.requests) for _ in range(2)] == [([], [])] * 2
    assert landing.said == "no file arrived or changed"


def test_the_cursor_of_a_release_that_knew_no_contract_asks_for_nothing(landing: Landing) -> None:
    landing.deliver("payments-2026-01-03.jsonl")
    landing.tick()
    days = json.loads(landing.cursor or "")
    del days["contract"]
    landing.cursor = json.dumps(days)
    assert (landing.tick(), landing.requests) == ([], [])
    landing.under(replace(LOADED, version="1.1.0"))
    landing.tick()
    assert len(landing.requests) == 1


def test_a_folder_that_is_not_there_is_a_red_tick(landing: Landing) -> None:
    landing.folder.rmdir()
    landing.folder.parent.rmdir()
    with pytest.raises(SourceUnreachable):
        landing.tick()


def test_switched_off_it_is_there_and_stopped(landing: Landing) -> None:
    chain = landing.asking.chain
    off = chain.settings.model_copy(update={"automation": Automation(enabled=False)})
    (sensor,) = landing_sensors(off, graph_of(chain), JOBS)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert landing.sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_files_have_days_from_the_first_chain_on_and_other_sources_have_none() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC).date()
    files = FilesSource(root="landing", settle=0)
    spec = source_spec(LOADED, files, first_day=first)
    assert isinstance(spec.partitions_def, dg.DailyPartitionsDefinition)
    assert spec.partitions_def.start.date() == first
    assert source_spec(LOADED, files, first_day=None).partitions_def is None
