"""Which snapshots and refs go: against the rules of Iceberg's spec, written down a second time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, SnapshotLogEntry
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from lakehouse.iceberg.expiry.plan import ExpiryPlan, KeptFor, plan_expiry
from lakehouse.tables import Layer, TableName

NAME = TableName(Layer.SILVER, "orders")
NOW_MS = 1_800_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
DAY = 24 * 3600 * 1000
BRANCH, TAG = SnapshotRefType.BRANCH, SnapshotRefType.TAG


def metadata_of(
    parents: dict[int, int | None],
    ages: dict[int, int],
    refs: dict[str, SnapshotRef],
    properties: dict[str, str] | None = None,
    log: tuple[tuple[int, int], ...] = (),
) -> TableMetadata:
    """A table of snapshots by id, their ages in milliseconds, refs, and what main showed since which age."""
    snapshots = [
        Snapshot.model_validate(
            {
                "snapshot-id": one,
                "parent-snapshot-id": parent,
                "sequence-number": one,
                "timestamp-ms": NOW_MS - ages[one],
                "manifest-list": f"file:///none/snap-{one}.avro",
                "summary": {"operation": "append"},
            }
        )
        for one, parent in parents.items()
    ]
    main = refs.get("main")
    empty = new_table_metadata(Schema(), UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "file:///none", {})
    return empty.model_copy(
        update={
            "snapshots": snapshots,
            "refs": refs,
            "current_snapshot_id": main.snapshot_id if main else None,
            "properties": properties or {},
            "snapshot_log": [SnapshotLogEntry(snapshot_id=one, timestamp_ms=NOW_MS - age) for one, age in log],
        }
    )


def ref(snapshot_id: int, kind: SnapshotRefType = BRANCH, **limits: int | None) -> SnapshotRef:
    given = {name.replace("_", "-"): value for name, value in limits.items() if value is not None}
    return SnapshotRef.model_validate({"snapshot-id": snapshot_id, "type": kind.value, **given})


def planned(metadata: TableMetadata, **given: object) -> ExpiryPlan:
    return plan_expiry(metadata, NAME, now=NOW, **given)  # type: ignore[arg-type]  # as the test says


def kept_by_the_spec(
    metadata: TableMetadata, *, age: int, least: int, ref_age: int | None
) -> tuple[set[str], set[int]]:
    """The refs and snapshots that stay, step by step as the spec has it, and unreferenced young ones as Java does."""
    known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}

    def old(snapshot_id: int, limit: int) -> bool:
        return NOW_MS - known[snapshot_id].timestamp_ms > limit

    def line(snapshot_id: int) -> list[int]:
        parent = known[snapshot_id].parent_snapshot_id
        return [snapshot_id, *(line(parent) if parent in known and parent is not None else [])]

    refs = {
        name: of
        for name, of in metadata.refs.items()
        if name == "main" or not old(of.snapshot_id, of.max_ref_age_ms or ref_age or 10**15)
    }
    retained = {of.snapshot_id for of in refs.values()}
    for of in refs.values():
        if of.snapshot_ref_type is BRANCH:
            for number, one in enumerate(line(of.snapshot_id)):
                too_old = old(one, of.max_snapshot_age_ms or age)
                if too_old and number >= (of.min_snapshots_to_keep or least):
                    break
                retained.add(one)
    referenced = {
        one
        for of in refs.values()
        for one in (line(of.snapshot_id) if of.snapshot_ref_type is BRANCH else [of.snapshot_id])
    }
    retained |= {one for one in known if one not in referenced and not old(one, age)}
    return set(refs), retained


@st.composite
def tables(draw: st.DrawFn) -> tuple[TableMetadata, int, int, int | None]:
    """Trees of up to twelve snapshots with branches and tags of all limits."""
    count = draw(st.integers(1, 12))
    parents = {one: draw(st.sampled_from([None, *range(1, one)])) for one in range(1, count + 1)}
    # Clocks of several writers: younger snapshots may seem older.
    ages = {one: draw(st.integers(0, 10)) * DAY for one in parents}
    limit = st.none() | st.integers(1, 10).map(lambda days: days * DAY)
    refs = {}
    for name in draw(st.sets(st.sampled_from(["main", "dev", "test", "v1", "v2", "lease/x"]))):
        kind = BRANCH if name in {"main", "dev", "test"} else TAG
        limits: dict[str, int | None] = {"max_ref_age_ms": draw(limit)}
        if kind is BRANCH:
            limits |= {"max_snapshot_age_ms": draw(limit), "min_snapshots_to_keep": draw(st.none() | st.integers(1, 4))}
        refs[name] = ref(draw(st.integers(1, count)), kind, **limits)
    age, least, ref_age = draw(st.integers(1, 10)) * DAY, draw(st.integers(1, 5)), draw(limit)
    properties = {"max-snapshot-age-ms": age, "min-snapshots-to-keep": least, "max-ref-age-ms": ref_age}
    given = {f"history.expire.{key}": str(value) for key, value in properties.items() if value is not None}
    return metadata_of(parents, ages, refs, given), age, least, ref_age


@given(tables())
def test_what_stays_is_what_the_spec_says(table: tuple[TableMetadata, int, int, int | None]) -> None:
    metadata, age, least, ref_age = table
    plan = planned(metadata)
    refs, snapshots = kept_by_the_spec(metadata, age=age, least=least, ref_age=ref_age)
    everything = {snapshot.snapshot_id for snapshot in metadata.snapshots}
    assert metadata.refs.keys() - {going.name for going in plan.refs} == refs
    assert everything - set(plan.snapshots) == snapshots
    assert sum(plan.kept.values()) == len(snapshots)
    assert "main" not in {going.name for going in plan.refs}
    assert list(plan.snapshots) == sorted(plan.snapshots)


@given(tables(), st.frozensets(st.integers(1, 14), max_size=3))
def test_what_is_held_stays_with_all_that_came_after_it_on_main(
    table: tuple[TableMetadata, int, int, int | None], held: frozenset[int]
) -> None:
    metadata, *_ = table
    free, holding = planned(metadata), planned(metadata, held=held)
    main, head = [], metadata.current_snapshot()
    while head is not None:
        main.append(head.snapshot_id)
        head = metadata.snapshot_by_id(head.parent_snapshot_id) if head.parent_snapshot_id else None
    needed = set(held) | {one for place, one in enumerate(main) if held & set(main[place:])}
    assert set(holding.snapshots) == set(free.snapshots) - needed
    assert holding.refs == free.refs


def line(count: int, age: int = 20 * DAY) -> tuple[dict[int, int | None], dict[int, int]]:
    """1 <- 2 <- 3 ..., all of an age."""
    return {one: one - 1 or None for one in range(1, count + 1)}, dict.fromkeys(range(1, count + 1), age)


def test_without_properties_the_defaults_are_those_of_iceberg() -> None:
    parents, ages = line(4)
    ages[3] = 5 * DAY + 1
    ages[4] = 5 * DAY
    plan = planned(metadata_of(parents, ages, {"main": ref(4), "v1": ref(1, TAG)}))
    assert plan.snapshots == (2, 3)
    assert plan.kept == {KeptFor.AGE: 1, KeptFor.TAG: 1}


def test_reasons_are_told_apart() -> None:
    parents, ages = line(6)
    parents |= {7: 1, 8: None}
    ages |= {6: 0, 7: 20 * DAY, 8: 0}
    refs = {"main": ref(6), "dev": ref(7), "v1": ref(2, TAG), "lease/1": ref(3, TAG, max_ref_age_ms=30 * DAY)}
    properties = {"history.expire.min-snapshots-to-keep": "2"}
    plan = planned(metadata_of(parents, ages, refs, properties), held={4})
    # 6 and the young 8 nobody's; 5 is the second of main, 7 and 1 the first two of dev.
    assert plan.kept == {
        KeptFor.AGE: 2,
        KeptFor.COUNT: 1,
        KeptFor.BRANCH: 2,
        KeptFor.TAG: 1,
        KeptFor.LEASE: 1,
        KeptFor.CONSUMER: 1,
    }
    assert plan.nothing


@pytest.mark.parametrize("name", ["run/a", "load/a", "rebase/a"])
def test_a_branch_of_a_failed_audit_goes_after_its_time(name: str) -> None:
    parents = {1: None, 2: 1, 3: 2}
    for age, goes in ((7 * DAY + 1, True), (7 * DAY, False)):
        metadata = metadata_of(parents, {1: 0, 2: 0, 3: age}, {"main": ref(2), name: ref(3)}, log=((1, 9), (2, 8)))
        plan = planned(metadata)
        assert [going.name for going in plan.refs] == [name] * goes
    assert planned(metadata, audits_kept_for=timedelta(days=6)).refs[0].limit == timedelta(days=6)


def test_a_users_own_branch_is_not_an_audit() -> None:
    metadata = metadata_of({1: None, 2: 1}, {1: 99 * DAY, 2: 99 * DAY}, {"main": ref(1), "dev": ref(2)})
    assert planned(metadata).refs == ()


def test_a_tag_that_looks_like_an_audit_is_a_tag() -> None:
    metadata = metadata_of({1: None, 2: 1}, {1: 99 * DAY, 2: 99 * DAY}, {"main": ref(2), "run/a": ref(1, TAG)})
    assert planned(metadata).refs == ()


def test_a_branch_that_was_just_made_at_an_old_main_stays() -> None:
    """Nobody wrote to main for a year; a run has begun a moment ago."""
    metadata = metadata_of({1: None}, {1: 365 * DAY}, {"main": ref(1), "run/a": ref(1)}, log=((1, 365 * DAY),))
    assert planned(metadata).nothing


def test_a_branch_without_work_of_its_own_goes_once_main_went_on_for_long() -> None:
    for went_on, goes in ((6 * DAY, False), (8 * DAY, True)):
        metadata = metadata_of(
            {1: None, 2: 1},
            {1: 365 * DAY, 2: went_on},
            {"main": ref(2), "run/a": ref(1)},
            log=((1, 365 * DAY), (2, went_on)),
        )
        assert bool(planned(metadata).refs) == goes


def test_the_tables_limit_for_refs_is_not_for_audits() -> None:
    """A run on a table that is rarely written to must not lose its branch in the middle of its work."""
    refs = {"main": ref(1), "run/a": ref(1), "dev": ref(1)}
    metadata = metadata_of(
        {1: None}, {1: 365 * DAY}, refs, {"history.expire.max-ref-age-ms": str(DAY)}, log=((1, 365 * DAY),)
    )
    assert [going.name for going in planned(metadata).refs] == ["dev"]


def test_main_stays_down_to_where_a_branch_in_work_began() -> None:
    """Else nobody could tell that main holds what the branch began at, and it could not be published."""
    parents, ages = line(5)
    parents |= {6: 3, 7: 6}
    ages |= {6: 6 * DAY, 7: DAY}
    log = tuple((one, 20 * DAY) for one in range(1, 6))
    plan = planned(metadata_of(parents, ages, {"main": ref(5), "run/a": ref(7)}, log=log))
    assert plan.snapshots == (1, 2)
    assert plan.kept == {KeptFor.COUNT: 1, KeptFor.BRANCH: 4}


def test_a_branch_on_work_that_a_restore_took_back_keeps_no_more_than_its_own_way() -> None:
    """Main went 1-2-3 and back to 1; the branch began at 3."""
    parents: dict[int, int | None] = {1: None, 2: 1, 3: 2, 4: 3}
    ages = {1: 20 * DAY, 2: 20 * DAY, 3: 20 * DAY, 4: DAY}
    log = ((1, 9 * DAY), (2, 8 * DAY), (3, 7 * DAY), (1, DAY))
    plan = planned(metadata_of(parents, ages, {"main": ref(1), "run/a": ref(4)}, log=log))
    assert plan.snapshots == (2,)


def test_what_a_restore_has_undone_stays_down_to_main() -> None:
    """Undoing it takes every snapshot between: the tag alone would keep but the newest."""
    parents, ages = line(5)
    tag = {"restored/then": ref(5, TAG, max_ref_age_ms=27 * DAY)}
    assert planned(metadata_of(parents, ages, {"main": ref(2), **tag})).snapshots == (1,)
    # Main went on from there, so that nothing can bring it back: the tag keeps what it names.
    parents[6], ages[6] = 2, 20 * DAY
    assert planned(metadata_of(parents, ages, {"main": ref(6), **tag})).snapshots == (1, 2, 3, 4)


def test_a_ref_without_its_snapshot_is_no_concern_of_expiry() -> None:
    metadata = metadata_of(
        {1: None, 2: 1}, {1: 20 * DAY, 2: DAY}, {"main": ref(2), "v1": ref(9, TAG, max_ref_age_ms=1)}
    )
    plan = planned(metadata)
    assert (plan.refs, plan.snapshots) == ((), (1,))
