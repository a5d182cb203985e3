"""What the instance says of tables: runs under way and failed ones, out of real runs of small assets."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from assets_tests.kiosk import SALES, SOLD, TAKINGS, january
from lakehouse.errors import LoadRejected, SourceUnreachable
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.runs import run_tables
from lakehouse.orchestration.specs import days_from, table_key
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.orchestration.why_runs import daemon_rests, run_reasons
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window

CHAIN = (SALES, SOLD, TAKINGS)
Act = Callable[[dg.AssetExecutionContext], None]


def nothing(_: dg.AssetExecutionContext) -> None:
    """Goes well."""


def gone(_: dg.AssetExecutionContext) -> None:
    raise SourceUnreachable("source 'landing' does not answer", found="refused", remedy="Start it.")


def rejected(_: dg.AssetExecutionContext) -> None:
    raise LoadRejected("bronze.sales: 9 of 10 rows break the contract", remedy="Mend the source.")


def held(_: dg.AssetExecutionContext) -> None:
    raise dg.Failure("kept on branch run/1, main unchanged: gold.takings: rule modest", allow_retries=False)


def bronze(act: Act = nothing) -> dg.AssetsDefinition:
    @dg.asset(key=table_key(SALES))
    def sales(context: dg.AssetExecutionContext) -> None:
        act(context)

    return sales


def daily(act: Act = nothing) -> dg.AssetsDefinition:
    """silver.sales and gold.takings, one step: the first is written, then `act`, then the second."""

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(table_key(SOLD), deps=[table_key(SALES)]),
            dg.AssetSpec(table_key(TAKINGS), deps=[table_key(SOLD)]),
        ],
        partitions_def=days_from(january(1)),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def models_daily(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield dg.MaterializeResult(asset_key=table_key(SOLD))
        act(context)
        yield dg.MaterializeResult(asset_key=table_key(TAKINGS))

    return models_daily


WINDOW = Window.of_days(january(3), january(5))


def reasons_after(
    settings: Settings, assets: dg.AssetsDefinition, names: tuple[TableName, ...], window: Window | None = None
) -> list[Reason]:
    with open_instance(settings) as instance:
        run_tables(dg.Definitions(assets=[assets]), instance, names, window=window)
        return run_reasons(instance, CHAIN)


def test_runs_that_went_well_are_no_reason(settings: Settings) -> None:
    assert reasons_after(settings, bronze(), (SALES,)) == []
    assert reasons_after(settings, daily(), (SOLD, TAKINGS), WINDOW) == []


def test_a_run_under_way_names_what_it_writes_and_its_days(settings: Settings) -> None:
    seen: list[Reason] = []

    def look(context: dg.AssetExecutionContext) -> None:
        seen.extend(run_reasons(context.instance, CHAIN))
        # A table that the run does not write is none of its business.
        assert run_reasons(context.instance, [SALES]) == []

    assert reasons_after(settings, daily(look), (SOLD, TAKINGS), WINDOW) == []
    (reason,) = seen
    assert (reason.table, reason.kind, reason.days) == (SOLD, Kind.RUN, (WINDOW,))
    assert "writes silver.sales, gold.takings" in reason.what
    assert reason.run_id is not None
    assert reason.at is not None


def test_upkeep_under_way_is_a_lock_not_a_run_that_brings_news(settings: Settings) -> None:
    seen: list[Reason] = []

    @dg.asset(key=["upkeep", *SOLD.key])
    def upkeep(context: dg.AssetExecutionContext) -> None:
        seen.extend(run_reasons(context.instance, CHAIN))

    with open_instance(settings) as instance:
        job = dg.Definitions(assets=[upkeep]).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
    assert [(reason.table, reason.kind) for reason in seen] == [(SOLD, Kind.LOCK)]


@pytest.mark.parametrize(
    ("act", "said", "finding"),
    [
        (gone, "source 'landing' does not answer; found refused. Start it.", False),
        (rejected, "9 of 10 rows break the contract", True),
    ],
)
def test_a_failed_load_says_why_in_the_words_of_the_error(
    settings: Settings, act: Act, said: str, *, finding: bool
) -> None:
    (reason,) = reasons_after(settings, bronze(act), (SALES,))
    assert (reason.table, reason.kind, reason.finding) == (SALES, Kind.FAILED, finding)
    assert said in reason.what


def test_a_step_that_holds_some_days_back_is_about_the_table_it_names(settings: Settings) -> None:
    (reason,) = reasons_after(settings, daily(held), (SOLD, TAKINGS), WINDOW)
    assert (reason.table, reason.kind, reason.finding, reason.days) == (TAKINGS, Kind.FAILED, True, (WINDOW,))
    assert "rule modest" in reason.what


def test_the_last_run_counts(settings: Settings) -> None:
    assert len(reasons_after(settings, bronze(gone), (SALES,))) == 1
    assert reasons_after(settings, bronze(), (SALES,)) == []
    assert len(reasons_after(settings, bronze(rejected), (SALES,))) == 1


def test_a_day_that_failed_is_not_forgotten_because_another_went_well(settings: Settings) -> None:
    assert len(reasons_after(settings, daily(held), (SOLD, TAKINGS), WINDOW)) == 1
    assert reasons_after(settings, daily(), (SOLD, TAKINGS), Window.of_days(january(8), january(8))) == []
    with open_instance(settings) as instance:
        (reason,) = run_reasons(instance, CHAIN, [january(4), january(8)])
        assert (reason.table, reason.days) == (TAKINGS, (WINDOW,))
        # Days that no failed run was about, and tables that it was not to write.
        assert run_reasons(instance, CHAIN, [january(8)]) == []
        assert run_reasons(instance, [SALES], [january(4)]) == []


def test_a_run_waits_in_the_queue_and_is_then_stopped_from_outside(settings: Settings) -> None:
    """As the daemon ends a run whose process is gone: nothing was heard of its step."""
    job = dg.Definitions(assets=[bronze()]).resolve_implicit_global_asset_job_def()
    with open_instance(settings) as instance:
        run = instance.create_run_for_job(job)
        (waiting,) = run_reasons(instance, CHAIN)
        instance.report_run_failed(run)
        (stopped,) = run_reasons(instance, CHAIN)
    assert (waiting.table, waiting.kind, waiting.run_id) == (SALES, Kind.RUN, run.run_id)
    assert "waits in the queue to write bronze.sales" in waiting.what
    assert (stopped.table, stopped.kind, stopped.finding) == (SALES, Kind.FAILED, False)
    assert "stopped from outside" in stopped.what


def test_without_a_daemon_nothing_is_asked_for_by_itself(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert daemon_rests(instance)
        assert run_reasons(instance, CHAIN) == []
