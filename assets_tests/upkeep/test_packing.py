"""Which files become one: laws that hold for any table, whatever sizes its rewritten files turn out to have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iceberg import LiveFile
from lakehouse.upkeep import Group, Policy, Reason, plan_compaction

TARGET = 1000
POLICY = Policy(target_bytes=TARGET)
SMALL = int(POLICY.small_below)


def live(path: str, size: int = 10, **more: object) -> LiveFile:
    """A file as writers leave it."""
    plain = LiveFile(path, "day=1", current_spec=True, rows=100, bytes=size, sequence=1)
    return replace(plain, **more)  # type: ignore[arg-type]  # fields of LiveFile


def many(count: int, size: int = 10, **more: object) -> list[LiveFile]:
    return [live(f"f{number:03}", size, **{"sequence": number, **more}) for number in range(count)]


@st.composite
def tables(draw: st.DrawFn) -> list[LiveFile]:
    """Files of any sizes in a few partitions, some with deletes, of an old partitioning, or rewritten before."""
    count = draw(st.integers(0, 40))
    found = []
    for number in range(count):
        rows = draw(st.integers(1, 1000))
        current = draw(st.integers(0, 9)) > 0
        partition = f"day={draw(st.integers(0, 2))}"
        found.append(
            LiveFile(
                path=f"f{number}",
                partition=partition if current else f"0:{partition}",
                current_spec=current,
                rows=rows,
                bytes=draw(st.one_of(st.integers(1, 50), st.integers(1, 3 * TARGET))),
                sequence=draw(st.integers(1, 20)),
                packed=draw(st.booleans()),
                delete_files=draw(st.sampled_from([0, 0, 0, 1, 6])),
                deleted_rows=draw(st.sampled_from([0, 0, 0, rows // 20, rows // 2])),
                equality_deletes=draw(st.integers(0, 14)) == 0,
            )
        )
    return found


def carried_out(files: Sequence[LiveFile], groups: Sequence[Group], ratio: float, at: int) -> list[LiveFile]:
    """The table after a plan: a group is one clean file of the current partitioning, `ratio` times its inputs."""
    known = {file.path: file for file in files}
    gone = {path for group in groups for path in group.files}
    made = [
        LiveFile(
            path=f"r{at}-{number}",
            partition=group.partition.removeprefix("0:"),
            current_spec=True,
            rows=group.rows,
            bytes=max(1, int(group.bytes * ratio)),
            sequence=max(known[path].sequence for path in group.files),
            packed=True,
        )
        for number, group in enumerate(groups)
    ]
    return [*(file for file in files if file.path not in gone), *made]


@given(tables())
def test_a_group_holds_files_of_one_partition_once_in_order_and_not_above_the_target(files: list[LiveFile]) -> None:
    known = {file.path: file for file in files}
    groups = plan_compaction(files, POLICY)
    taken = Counter(path for group in groups for path in group.files)
    assert set(taken.values()) <= {1}
    assert taken.keys() <= known.keys()
    for group in groups:
        chosen = [known[path] for path in group.files]
        assert {file.partition for file in chosen} == {group.partition}
        assert (group.bytes, group.rows) == (sum(f.bytes for f in chosen), sum(f.rows for f in chosen))
        assert group.bytes <= TARGET or len(chosen) == 1
        assert [f.sequence for f in chosen] == sorted(f.sequence for f in chosen)


@given(tables())
def test_a_group_is_worth_it(files: list[LiveFile]) -> None:
    known = {file.path: file for file in files}
    for group in plan_compaction(files, POLICY):
        chosen = [known[path] for path in group.files]
        assert not any(file.equality_deletes for file in chosen)
        if group.reason is Reason.SMALL:
            assert all(file.bytes < SMALL for file in chosen)
            assert len(chosen) >= POLICY.min_files or (len(chosen) > 1 and group.bytes >= SMALL)
        elif group.reason is Reason.DELETES:
            assert any(file.deleted_rows >= file.rows / 10 or file.delete_files >= 5 for file in chosen)
        else:
            assert not all(file.current_spec for file in chosen)


@given(tables())
def test_what_is_worth_it_by_itself_is_always_planned(files: list[LiveFile]) -> None:
    planned = {path for group in plan_compaction(files, POLICY) for path in group.files}
    for file in files:
        hidden = file.deleted_rows > 0 and file.deleted_rows >= file.rows / 10
        if not file.equality_deletes and (not file.current_spec or hidden or file.delete_files >= 5):
            assert file.path in planned


@given(tables(), st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_listed_does_not_matter(files: list[LiveFile], random: object) -> None:
    shuffled = sorted(files, key=lambda _: random.random())  # type: ignore[attr-defined]  # a Random
    assert plan_compaction(shuffled, POLICY) == plan_compaction(files, POLICY)


@given(tables(), st.lists(st.floats(0.5, 1.2), min_size=1, max_size=20))
def test_packing_comes_to_an_end_whatever_sizes_come_out(files: list[LiveFile], ratios: list[float]) -> None:
    """apache/iceberg 9674 and others: a planner that selects its own output rewrites a table again every night."""
    rounds = 0
    while groups := plan_compaction(files, POLICY):
        made = {file.path for file in files if file.packed}
        clean = {file.path for file in files if file.current_spec and not file.deleted_rows and not file.delete_files}
        for group in groups:
            assert not set(group.files) <= made & clean, "only what was packed before is packed again"
        files = carried_out(files, groups, ratios[rounds % len(ratios)], rounds)
        rounds += 1
    assert rounds <= 4


@given(st.integers(1, 60), st.integers(1, 8), st.floats(0.9, 1.1), st.integers(20, 120))
def test_a_row_is_written_a_few_times_however_often_little_comes(
    size: int, batch: int, ratio: float, nights: int
) -> None:
    """Without the rule of growth, the file of all that came so far would be written anew every night."""
    files: list[LiveFile] = []
    came = written = 0
    for night in range(nights):
        files += [live(f"n{night}-{number}", size, sequence=night) for number in range(batch)]
        came += batch * size
        groups = plan_compaction(files, POLICY)
        written += sum(group.bytes for group in groups)
        files = carried_out(files, groups, ratio, night)
    # A file grows by half each time it is written again, and not once it is large.
    often = 1 + math.ceil(math.log(SMALL / size, ratio * (1 + POLICY.growth))) if size < SMALL else 1
    assert written <= often * came
    # Few files are left: those of half a target or more, a ladder of sizes, and what is not enough yet.
    ladder = math.ceil(math.log2(TARGET)) + POLICY.min_files
    assert len(files) <= 2 * came / (ratio * TARGET) + ladder


def test_five_small_files_are_packed_and_four_wait() -> None:
    assert plan_compaction(many(4), POLICY) == ()
    (group,) = plan_compaction(many(5), POLICY)
    assert group == Group(("f000", "f001", "f002", "f003", "f004"), "day=1", 50, 500, Reason.SMALL)


def test_two_files_that_make_a_large_one_are_packed() -> None:
    (group,) = plan_compaction(many(2, SMALL // 2 + 1), POLICY)
    assert len(group.files) == 2
    assert plan_compaction(many(2, SMALL // 2 - 1), POLICY) == ()


def test_large_files_are_left_alone() -> None:
    assert plan_compaction(many(9, SMALL), POLICY) == ()


def test_files_of_other_partitions_do_not_count() -> None:
    files = [live(f"f{number}", partition=f"day={number}") for number in range(9)]
    assert plan_compaction(files, POLICY) == ()


@pytest.mark.parametrize(
    ("more", "worth"),
    [
        ({"deleted_rows": 9, "delete_files": 1}, False),
        ({"deleted_rows": 10, "delete_files": 1}, True),
        ({"deleted_rows": 1, "delete_files": 4}, False),
        ({"deleted_rows": 1, "delete_files": 5}, True),
    ],
)
def test_a_large_file_is_rewritten_for_its_deletes(more: dict[str, object], worth: bool) -> None:
    groups = plan_compaction([live("large", 2 * TARGET, **more)], POLICY)
    assert [group.reason for group in groups] == ([Reason.DELETES] if worth else [])


def test_a_file_of_an_older_partitioning_is_rewritten_and_not_with_others() -> None:
    old = live("old", TARGET, partition="0:day=1", current_spec=False)
    groups = plan_compaction([old, *many(5)], POLICY)
    assert [(group.reason, len(group.files)) for group in groups] == [(Reason.SPEC, 1), (Reason.SMALL, 5)]


def test_files_under_equality_deletes_are_left_to_who_wrote_those() -> None:
    files = many(9, equality_deletes=True)
    assert plan_compaction(files, POLICY) == ()
    assert len(plan_compaction([*files[:3], *many(9)[3:]], POLICY)[0].files) == 6


def test_rewritten_files_wait_for_company_of_half_their_size() -> None:
    packed = live("packed", 200, packed=True, sequence=-1)
    assert [group.files for group in plan_compaction([packed, *many(9)], POLICY)] == [
        tuple(file.path for file in many(9))
    ]
    (group,) = plan_compaction([packed, *many(10)], POLICY)
    assert group.files[0] == "packed"
    assert plan_compaction([live(f"p{number}", packed=True) for number in range(50)], POLICY) == ()


def test_bins_hold_what_came_together() -> None:
    """A rewritten file counts as changed when the newest of its rows did: old and new rows are not mixed."""
    files = many(40, 100)
    groups = plan_compaction(files[::-1], POLICY)
    assert [group.files for group in groups] == [
        tuple(f"f{number:03}" for number in range(start, start + 10)) for start in (30, 20, 10, 0)
    ]
