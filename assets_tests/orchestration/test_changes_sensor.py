"""The sensor `changes` over a real lake and a real instance: each change becomes one question, and none is lost."""

from __future__ import annotations

from datetime import date

import dagster as dg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from assets_tests.changes.conftest import GOLD, ORDERS, PAID, PAYMENTS, SILVER, Chain
from assets_tests.orchestration.asking import Asking
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Lake, connect
from lakehouse.orchestration.asked import PATIENCE
from lakehouse.settings import Catalog, Settings
from lakehouse.tables import Window

LATER = PATIENCE + 1


def test_late_rows_ask_for_their_days_once_and_say_why(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1), (12, 7, 1))
    assert asking.tick() == {"silver.orders": [3, 7]}
    event = asking.events[0]
    assert event.partition == "2026-01-03"
    assert event.metadata["lakehouse/changed"].value == "bronze.orders"
    head = asking.chain.lake.look(ORDERS.name).snapshots()[0].id
    assert event.metadata["lakehouse/snapshots"].value == {"bronze.orders": str(head)}
    assert [asking.tick() for _ in range(3)] == [{}] * 3
    assert asking.said == "out of date, and asked for already: silver.orders. `lakehouse why TABLE` says more"
    # Another day, and one of these again: the third stays asked for.
    asking.chain.orders((13, 9, 1), (14, 7, 1))
    assert asking.tick() == {"silver.orders": [7, 9]}


def test_what_was_built_is_forgotten_and_asked_for_when_it_changes_again(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}
    asking.chain.build("silver.orders", 3)
    asking.chain.build("gold.orders", 3)
    assert asking.tick() == {}
    assert asking.said == "everything follows its inputs"
    asking.chain.orders((12, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}


def test_tables_without_days_come_first_and_the_days_that_they_touch_after_them(asking: Asking) -> None:
    asking.chain.payments((4, 7, 70))
    # Order 2's day waits with the payments: it would be built twice.
    asking.chain.orders((2, 2, 5))
    assert asking.tick() == {"run silver.payments": [], "silver.orders": [2]}
    asking.chain.build("silver.payments")
    assert asking.tick() == {"gold.orders": [7]}


def test_a_broken_table_without_days_holds_no_day_back_and_is_asked_for_once(asking: Asking) -> None:
    asking.chain.build("silver.orders", 5)
    asking.chain.payments((4, 7, 70))
    assert asking.tick() == {"run silver.payments": []}
    running = asking.begin(PAID)
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {}
    assert asking.said.startswith("waiting for run ")
    asking.instance.report_run_failed(running)
    asking.run(PAID, broken=True)
    assert asking.tick() == {"gold.orders": [5], "silver.orders": [3]}
    asking.pass_time(LATER)
    assert not [asked for asked in asking.tick() if asked.startswith("run ")]
    # Something changed: it may work now.
    asking.chain.payments((5, 8, 80))
    assert asking.tick() == {"run silver.payments": []}
    assert len({request.run_key for request in asking.requests}) == 2


def test_a_compaction_asks_for_nothing(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    asking.chain.build("silver.orders", 3)
    asking.chain.build("gold.orders", 3)
    assert asking.tick() == {}
    for name in (ORDERS.name, PAYMENTS.name, SILVER.name):
        table = asking.chain.lake.table(name)
        table.replace_files([file.path for file in table.live_files()], table.scan(), run_key=f"pack-{name}")
        assert table.snapshots()[0].operation == "replace"
    assert asking.tick() == {}
    assert asking.said == "everything follows its inputs"


def test_a_lost_cursor_asks_once_more_and_then_never_again(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}
    asking.cursor = None
    assert [asking.tick() for _ in range(3)] == [{"silver.orders": [3]}, {}, {}]


@pytest.mark.parametrize("cursor", ["", "[]", "no json", '{"version": 1}', '{"version": 0, "asks": []}'])
def test_a_cursor_that_is_not_ours_is_a_lost_one(asking: Asking, cursor: str) -> None:
    asking.chain.orders((11, 3, 1))
    asking.cursor = cursor
    assert asking.tick() == {"silver.orders": [3]}


def test_a_day_that_failed_by_itself_waits_for_a_change(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}
    asking.run(SILVER, GOLD, days=(3, 4), broken=True)
    for _ in range(3):
        asking.pass_time(LATER)
        assert asking.tick() == {}
    asking.chain.orders((12, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}


def test_a_run_that_was_killed_is_asked_for_once_more_but_not_one_that_somebody_canceled(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1), (12, 7, 1))
    assert asking.tick() == {"silver.orders": [3, 7]}
    killed = asking.begin(SILVER, days=(3, 3))
    canceled = asking.begin(SILVER, days=(7, 7))
    asking.instance.report_run_failed(killed, "its process is gone")
    asking.instance.report_run_canceled(canceled)
    assert asking.tick() == {}
    asking.pass_time(LATER)
    assert asking.tick() == {"silver.orders": [3]}
    asking.pass_time(LATER)
    assert asking.tick() == {}


def test_a_question_that_no_run_took_up_is_asked_once_more(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    asked = []
    for _ in range(4):
        asked.append(asking.tick())
        asking.pass_time(LATER)
    assert asked == [{"silver.orders": [3]}, {"silver.orders": [3]}, {}, {}]


def test_a_run_that_made_the_change_and_failed_with_the_day_below_is_not_asked_to_do_it_again(asking: Asking) -> None:
    silver = asking.chain.lake.table(SILVER.name)

    def published(day: int, run_key: str) -> None:
        rows = pa.Table.from_pylist([{"order_id": day, "day": date(2026, 1, day), "n": 100}], schema=silver.schema())
        silver.overwrite(
            rows.to_reader(), where=Window.of_days(date(2026, 1, day), date(2026, 1, day)), run_key=run_key
        )

    # The run published the silver of day 3, and found its gold bad; of day 4 only the silver was asked for.
    published(3, f"{asking.run(SILVER, GOLD, days=(3, 3), broken=True)}:models")
    published(4, f"{asking.run(SILVER, days=(4, 4))}:models")
    assert asking.tick() == {"gold.orders": [4]}


def test_nothing_is_asked_while_a_run_is_under_way(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    loading = asking.begin(ORDERS, status=dg.DagsterRunStatus.NOT_STARTED)
    assert asking.tick() == {}
    assert asking.said == f"waiting for run {loading.run_id[:8]}"
    # After a minute only what is being made itself waits.
    asking.pass_time(61)
    assert asking.tick() == {"silver.orders": [3]}
    asking.instance.report_run_canceled(loading)
    building = asking.begin(SILVER, GOLD, days=(1, 9))
    asking.chain.orders((12, 5, 1))
    assert asking.tick() == {}
    asking.pass_time(61)
    assert asking.tick() == {}
    assert asking.said == f"out of date: silver.orders; waiting for run {building.run_id[:8]}"
    asking.instance.report_run_failed(building)
    assert asking.tick() == {"silver.orders": [5]}


def test_upkeep_and_checks_keep_nobody_waiting(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    job = asking.defs.resolve_job_def("test_upkeep")
    asking.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert asking.tick() == {"silver.orders": [3]}


def test_days_that_dagster_does_not_know_are_left_until_it_does(asking: Asking) -> None:
    days = (date(2025, 12, 31), date(2199, 1, 1))
    asking.chain.load("bronze.orders", [{"order_id": 90, "day": day, "n": 1} for day in days])
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}


def test_a_lake_that_does_not_answer_is_a_red_tick_and_moves_no_cursor(asking: Asking) -> None:
    before = asking.cursor
    asking.chain.orders((11, 3, 1))
    asking.chain.settings = asking.chain.settings.model_copy(
        update={"catalog": Catalog(uri=SecretStr("postgresql+psycopg://nobody@127.0.0.1:1/none"))}
    )
    with pytest.raises(LakehouseError):
        asking.tick()
    assert asking.cursor == before


def test_a_table_that_was_never_built_asks_for_nothing(settings: Settings) -> None:
    chain = Chain(settings, Lake.open(settings), connect(settings))
    chain.orders((1, 1, 1))
    chain.payments((1, 1, 10))
    with dg.DagsterInstance.ephemeral() as instance:
        assert Asking(chain, instance).tick() == {}


def test_the_run_of_a_table_without_days_is_one_a_state_of_its_inputs(asking: Asking) -> None:
    asking.chain.payments((4, 7, 70))
    asking.tick()
    asking.cursor = None
    asking.tick()
    first, again = asking.requests
    assert first.run_key == again.run_key
    assert {key.path[-1] for key in first.asset_selection or ()} == {PAID.name.table}
    assert PAYMENTS.name.layer.value not in {key.path[0] for key in first.asset_selection or ()}
