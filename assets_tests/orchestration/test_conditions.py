"""When a daily table asks for itself: Dagster's own evaluation of the named conditions, over events as they come."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from lakehouse.orchestration.conditions import days_changed
from lakehouse.orchestration.specs import days_from

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = days_from(START.date())
SILVER, GOLD = dg.AssetKey(["silver", "orders"]), dg.AssetKey(["gold", "orders"])
TOLD = {key: dg.AssetKey(["changes", *key.path]) for key in (SILVER, GOLD)}
UNDATED = dg.AssetKey(["silver", "payments"])
UPKEEP = dg.AssetKey(["upkeep", "silver", "orders"])


def daily(key: dg.AssetKey, *above: dg.AssetKey) -> dg.AssetSpec:
    return dg.AssetSpec(
        key, deps=[*above, TOLD[key]], partitions_def=DAYS, automation_condition=days_changed(TOLD[key])
    )


@dg.multi_asset(specs=[daily(SILVER), daily(GOLD, SILVER, UNDATED)], partitions_def=DAYS, can_subset=True)
def models(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    if context.run.tags.get("broken"):
        raise dg.Failure("the day is bad", allow_retries=False)
    for key in (SILVER, GOLD):
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)


@dg.multi_asset(specs=[dg.AssetSpec(UNDATED), dg.AssetSpec(UPKEEP, deps=[SILVER])], can_subset=True)
def others(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key)


DEFS = dg.Definitions(
    assets=[*(dg.AssetSpec(key, partitions_def=DAYS) for key in TOLD.values()), models, others],
    executor=dg.in_process_executor,
)


@dataclass
class Evaluations:
    """The sensor's evaluations, five seconds apart, two weeks after the first day."""

    instance: dg.DagsterInstance
    now: datetime = START + timedelta(days=14)
    cursor: Any = None

    def next(self) -> dict[dg.AssetKey, set[str]]:
        self.now += timedelta(seconds=5)
        found = dg.evaluate_automation_conditions(
            DEFS,
            self.instance,
            asset_selection=dg.AssetSelection.assets(SILVER, GOLD),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = found.cursor
        asked = {key: set(found.get_requested_partitions(key)) for key in (SILVER, GOLD)}
        return {key: days for key, days in asked.items() if days}

    def told(self, key: dg.AssetKey, *days: str) -> None:
        for day in days:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(TOLD[key], partition=day))

    def run(self, *keys: dg.AssetKey, day: str | None = None, broken: bool = False) -> bool:
        job = DEFS.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            partition_key=day,
            tags={"broken": "yes"} if broken else None,
            raise_on_error=False,
        ).success


@pytest.fixture
def evaluations() -> Iterator[Evaluations]:
    """After the first evaluation, which asks for nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        begun = Evaluations(instance)
        assert begun.next() == {}
        yield begun


def test_at_the_first_look_nothing_is_asked_for_whatever_is_missing_or_was_told_before() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        begun = Evaluations(instance)
        begun.told(SILVER, "2026-01-03")
        assert begun.next() == {}
        assert begun.next() == {}


def test_a_day_is_asked_for_with_the_same_day_of_what_reads_it(evaluations: Evaluations) -> None:
    evaluations.told(SILVER, "2026-01-03", "2026-01-07")
    evaluations.told(GOLD, "2026-01-05")
    assert evaluations.next() == {
        SILVER: {"2026-01-03", "2026-01-07"},
        GOLD: {"2026-01-03", "2026-01-05", "2026-01-07"},
    }
    assert evaluations.next() == {}


def test_today_and_only_days_that_there_are_can_be_asked_for(evaluations: Evaluations) -> None:
    evaluations.told(SILVER, "2025-12-31", "2026-01-15", "2026-01-16")
    assert evaluations.next() == {SILVER: {"2026-01-15"}, GOLD: {"2026-01-15"}}


def test_a_broken_day_is_asked_for_once_in_a_hundred_evaluations_and_again_when_something_changes(
    evaluations: Evaluations,
) -> None:
    evaluations.told(SILVER, "2026-01-03")
    assert evaluations.next()
    assert not evaluations.run(SILVER, GOLD, day="2026-01-03", broken=True)
    asked = [evaluations.next() for _ in range(100)]
    assert asked == [{}] * 100
    evaluations.told(SILVER, "2026-01-03")
    assert evaluations.next() == {SILVER: {"2026-01-03"}, GOLD: {"2026-01-03"}}


def test_what_was_built_since_it_was_told_is_not_asked_for(evaluations: Evaluations) -> None:
    evaluations.told(GOLD, "2026-01-03")
    assert evaluations.run(GOLD, day="2026-01-03")
    assert evaluations.next() == {}
    # And what is told after it was built is.
    evaluations.told(GOLD, "2026-01-03")
    assert evaluations.next() == {GOLD: {"2026-01-03"}}


def test_a_run_by_hand_an_undated_table_and_upkeep_ask_for_nothing(evaluations: Evaluations) -> None:
    assert evaluations.run(SILVER, day="2026-01-04")
    assert evaluations.next() == {}
    assert evaluations.run(UNDATED)
    assert evaluations.next() == {}
    assert evaluations.run(UPKEEP)
    assert evaluations.next() == {}


def test_a_day_that_is_being_built_waits(evaluations: Evaluations) -> None:
    job = DEFS.resolve_implicit_global_asset_job_def()
    running = evaluations.instance.create_run_for_job(
        job.get_subset(asset_selection={GOLD}),
        asset_selection=frozenset({GOLD}),
        tags={"dagster/partition": "2026-01-03"},
        status=dg.DagsterRunStatus.STARTED,
    )
    evaluations.told(GOLD, "2026-01-03", "2026-01-04")
    assert evaluations.next() == {GOLD: {"2026-01-04"}}
    evaluations.instance.report_run_failed(running)
    assert evaluations.next() == {GOLD: {"2026-01-03"}}
