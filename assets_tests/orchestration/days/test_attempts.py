"""Which run a run is an attempt at: real runs, started again as Dagster does it and as people do."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets_tests.orchestration.days.attempted import job, probe

RETRY = {"dagster/retry_number": "1"}


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


def run(instance: dg.DagsterInstance, parent: str | None = None, tags: dict[str, str] | None = None) -> tuple[str, str]:
    """The id of a new run, and the one that it takes itself for an attempt at."""
    again = None if parent is None else dg.ReexecutionOptions(parent_run_id=parent)
    with dg.execute_job(dg.reconstructable(job), instance, tags=tags, reexecution_options=again) as result:
        assert result.success
        found = instance.fetch_materializations(dg.AssetRecordsFilter(probe.key), limit=1).records[0]
    said = found.asset_materialization
    assert said is not None
    return result.run_id, str(said.metadata["first"].value)


def test_a_run_that_dagster_starts_again_is_an_attempt_at_the_first(instance: dg.DagsterInstance) -> None:
    first, said = run(instance)
    assert said == first
    second, said = run(instance, first, RETRY)
    assert (said, second == first) == (first, False)
    assert run(instance, second, {"dagster/retry_number": "2"})[1] == first


def test_a_run_that_people_start_again_is_new_work_also_when_it_is_killed(instance: dg.DagsterInstance) -> None:
    first, _ = run(instance)
    mine, said = run(instance, first)
    assert said == mine
    assert run(instance, mine, RETRY)[1] == mine
