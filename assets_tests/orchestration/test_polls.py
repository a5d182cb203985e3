"""A database that is asked for something new: over a real PostgreSQL, and what its rows have reached in the lake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.changes.conftest import ORDERS, PAID, PAYMENTS, Chain
from assets_tests.orchestration.asking import JOBS, Asking, graph_of
from lakehouse.errors import SourceUnreachable
from lakehouse.iceberg import Lake, connect
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.orchestration.loads import stated
from lakehouse.orchestration.polls import poll_sensors
from lakehouse.settings import Automation, FilesSource, PostgresSource, Settings
from lakehouse.sources import open_source
from lakehouse.tables import LoadPolicy, Table, TableRule, TableRuleKind

SHOP = """
create table orders (order_id bigint primary key, day date, n bigint, updated_at timestamptz not null);
create table payments (payment_id bigint primary key, order_id bigint, amount bigint, updated_at timestamptz not null);
insert into orders values (1, '2026-01-01', 1, now() - interval '1 hour');
insert into payments values (1, 1, 10, now() - interval '1 hour');
"""


def of_shop(table: Table, name: str) -> Table:
    return replace(table, load=LoadPolicy("shop", {"table": f"public.{name}", "watermark": "updated_at"}))


@dataclass
class Shop:
    """The database, and the sensor that polls it."""

    asking: Asking
    url: SecretStr
    sensor: dg.SensorDefinition
    said: str = ""

    def execute(self, sql: str) -> None:
        with closing(psycopg.connect(self.url.get_secret_value(), autocommit=True)) as connection:
            connection.execute(sql.encode())

    def load(self, *tables: Table) -> None:
        """As loads would: what the source has is reached."""
        for table in tables:
            extract = open_source(self.asking.chain.settings, table).read(self._reached(table))
            if extract is not None:
                list(extract.chunks)
                before = {LOAD_SCOPE: self._reached(table)}
                promise = {"progress": {LOAD_SCOPE: extract.reached}, "expected_progress": before}
                target = self.asking.chain.lake.create(table)
                empty = target.schema().empty_table()
                target.append(empty, run_key=f"{table.name} {extract.reached}", **promise)

    def tick(self) -> list[dg.RunRequest]:
        repository = self.asking.defs.get_repository_def()
        context = dg.build_sensor_context(instance=self.asking.instance, repository_def=repository)
        told = self.sensor.evaluate_tick(context)
        self.said = told.skip_message or ""
        return list(told.run_requests or ())

    def until_asked(self) -> list[dg.RunRequest]:
        """The first tick that asks: what was written within the last second is not yet looked at."""
        deadline = time.monotonic() + 30
        while not (asked := self.tick()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return asked

    def _reached(self, table: Table) -> dict[str, object] | None:
        lake = self.asking.chain.lake
        return lake.table(table.name).progress(LOAD_SCOPE) if lake.exists(table.name) else None


LOADS = (of_shop(ORDERS, "orders"), of_shop(PAYMENTS, "payments"))


@pytest.fixture
def shop(settings: Settings, database: SecretStr) -> Iterator[Shop]:
    """A shop with an order and a payment that are not loaded yet."""
    sources = {"shop": PostgresSource(url=database), "landing": FilesSource(root="landing")}
    polled = settings.model_copy(update={"sources": sources, "automation": Automation(poll_seconds=15)})
    chain = Chain(polled, Lake.open(polled), connect(polled))
    for table in LOADS:
        chain.add(table)
    with dg.DagsterInstance.ephemeral() as instance:
        (sensor,) = poll_sensors(polled, graph_of(chain), JOBS)
        made = Shop(Asking(chain, instance), database, sensor)
        made.execute(SHOP)
        yield made


def tables(request: dg.RunRequest) -> set[str]:
    return {".".join(key.path) for key in request.asset_selection or ()}


def test_what_is_new_of_all_tables_is_one_run_with_what_reads_it(shop: Shop) -> None:
    (request,) = shop.tick()
    assert tables(request) == {str(ORDERS.name), str(PAYMENTS.name), str(PAID.name)}
    shop.load(*LOADS)
    assert shop.tick() == []
    assert shop.said == "nothing new in shop"


def test_only_the_table_that_has_something_new_is_loaded(shop: Shop) -> None:
    shop.load(*LOADS)
    shop.execute("update orders set n = 2, updated_at = now()")
    (request,) = shop.until_asked()
    assert tables(request) == {str(ORDERS.name)}


def test_the_same_rows_from_the_same_place_are_one_run_key(shop: Shop) -> None:
    shop.load(*LOADS)
    shop.execute("update orders set n = 2, updated_at = now()")
    asked = [request.run_key for request in shop.until_asked()]
    asked += [request.run_key for _ in range(2) for request in shop.tick()]
    assert len(asked) == 3
    assert len(set(asked)) == 1
    shop.load(*LOADS)
    shop.execute("update orders set n = 3, updated_at = now()")
    (other,) = shop.until_asked()
    assert other.run_key != asked[0]


@pytest.mark.parametrize(
    "change", [{"version": "1.1.0"}, {"table_rules": (TableRule("few", TableRuleKind.ROW_COUNT),)}]
)
def test_what_a_contract_held_back_is_asked_for_again_when_it_says_something_else(
    shop: Shop, change: dict[str, Any]
) -> None:
    """The load stands where it stood, and nothing is new in the source."""
    (asked,) = shop.tick()
    chain = shop.asking.chain
    chain.add(replace(LOADS[0], **change))
    (shop.sensor,) = poll_sensors(chain.settings, graph_of(chain), JOBS)

    again = [request.run_key for _ in range(2) for request in shop.tick()]
    assert len(set(again)) == 1
    assert again[0] != asked.run_key


def test_a_digest_of_a_contract_is_the_same_in_every_process() -> None:
    """Columns that are dropped are a set, whose order is not."""
    names = [f"column_{number}" for number in range(20)]
    ahead, back = (replace(LOADS[0], drop=frozenset(of)) for of in (names, reversed(names)))
    assert stated(ahead) == stated(back) != stated(LOADS[0])


def test_nobody_is_asked_while_a_load_runs(shop: Shop) -> None:
    running = shop.asking.begin(ORDERS)
    assert shop.tick() == []
    assert shop.said == "a load of shop is under way"
    shop.asking.instance.report_run_failed(running)
    assert len(shop.tick()) == 1


def test_a_database_that_does_not_answer_is_a_red_tick(shop: Shop) -> None:
    away = shop.asking.chain.settings.model_copy(
        update={"sources": {"shop": PostgresSource(url=SecretStr("postgresql://nobody@127.0.0.1:1/none"))}}
    )
    (shop.sensor,) = poll_sensors(away, graph_of(shop.asking.chain), JOBS)
    with pytest.raises(SourceUnreachable):
        shop.tick()


def test_without_a_clock_nobody_polls(shop: Shop) -> None:
    assert shop.sensor.minimum_interval_seconds == 15
    quiet = shop.asking.chain.settings.model_copy(update={"automation": Automation()})
    assert poll_sensors(quiet, graph_of(shop.asking.chain), JOBS) == []
