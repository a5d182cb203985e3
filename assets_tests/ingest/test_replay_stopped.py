"""Loads and replays that are killed at a step of theirs: whoever comes next loses no record and lets none in twice."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from assets_tests.ingest.payments import QUARANTINE, ids, paid, rows, write
from lakehouse.contracts import Declarations
from lakehouse.errors import Fenced
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest import attempt_load, discard, load, replay
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Bound, Comparison, Layer, Rule, Table, TableRule, TableRuleKind, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
KILLED = textwrap.dedent(
    """
    import os, pickle, signal, sys
    from lakehouse.iceberg import Lake, LakeTable
    from lakehouse.ingest import load, replay
    from lakehouse.tables import Layer

    settings, table, work, wanted = pickle.load(open(sys.argv[1], "rb"))
    append, merge = LakeTable.append, LakeTable.merge
    puts = 0

    def reached(step):
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    def appended(self, rows, **promises):
        if self.name.layer is not Layer.BRONZE:
            return append(self, rows, **promises)
        reached("before bronze")
        done = append(self, rows, **promises)
        reached("after bronze")
        return done

    def merged(self, rows, **promises):
        global puts
        done = merge(self, rows, **promises)
        puts += 1
        reached(f"put {puts}")
        return done

    LakeTable.append, LakeTable.merge = appended, merged
    {"load": load, "replay": replay}[work](settings, Lake.open(settings), table, run_id="killed")
    """
)


@pytest.fixture
def strict(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id"], rules=[Rule("large", "amount > 100")], reject_limit=1.0)


@pytest.fixture
def mended(strict: Table) -> Table:
    return replace(strict, rules=())


def kill(settings: Settings, table: Table, work: str, step: str, folder: Path) -> None:
    (folder / "task").write_bytes(pickle.dumps((settings, table, work, step)))
    died = subprocess.run([sys.executable, "-c", KILLED, str(folder / "task")], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()


def seen(lake: Lake, table: Table) -> tuple[list[object], list[str]]:
    """What bronze holds, and the states of the records that it turned away."""
    states = sorted((str(row["source"]), str(row["state"])) for row in rows(lake, QUARANTINE))
    return ids(lake, table), [state for _, state in states]


@pytest.mark.parametrize(
    ("step", "left"), [("put 1", ([], ["held", "held"])), ("after bronze", (["P1"], ["held", "held"]))]
)
def test_a_killed_load_leaves_records_that_no_replay_takes_before_it_is_done(  # noqa: PLR0913, PLR0917  (fixtures)
    landing: Settings,
    lake: Lake,
    strict: Table,
    mended: Table,
    step: str,
    left: tuple[list[object], list[str]],
    tmp_path: Path,
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "2"), paid(None, "3"))
    kill(landing, strict, "load", step, tmp_path)
    assert seen(lake, strict) == left
    published = bool(left[0])
    # Published, its records are open, and one passes by now; else the next load reads them again.
    first = replay(landing, lake, mended, run_id="replay")
    assert (first.tried, first.entered) == ((2, 1) if published else (0, 0))
    load(landing, lake, mended, run_id="load")
    assert seen(lake, strict) == (["P1", "P2"], ["replayed" if published else "loaded", "open"])
    assert replay(landing, lake, mended, run_id="replay").entered == 0
    assert ids(lake, strict) == ["P1", "P2"]


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("before bronze", (["P1"], ["open", "open"])),
        ("after bronze", (["P1", "P2"], ["open", "open"])),
        ("put 1", (["P1", "P2"], ["replayed", "open"])),
    ],
)
def test_a_killed_replay_is_done_by_the_next_one(  # noqa: PLR0913, PLR0917  (fixtures)
    landing: Settings,
    lake: Lake,
    strict: Table,
    mended: Table,
    step: str,
    left: tuple[list[object], list[str]],
    tmp_path: Path,
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "2"), paid(None, "3"))
    load(landing, lake, strict, run_id="load")
    kill(landing, mended, "replay", step, tmp_path)
    assert seen(lake, strict) == left
    # Under yet another contract, whose rows are not the same any more.
    renamed = replace(mended, columns=(*mended.columns[:1], replace(mended.columns[1], type="decimal(12, 2)")))
    result = replay(landing, lake, renamed, run_id="again")
    assert (result.entered, result.there) == {"before bronze": (1, 0), "after bronze": (0, 1), "put 1": (0, 0)}[step]
    assert seen(lake, strict) == (["P1", "P2"], ["replayed", "open"])
    assert replay(landing, lake, renamed, run_id="once more").commit is None


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something done just before the next commit to bronze."""
    append = LakeTable.append

    def later(self: LakeTable, *given: object, **promises: object) -> object:
        if self.name.layer is Layer.BRONZE:
            monkeypatch.setattr(LakeTable, "append", append)
            act()
        return append(self, *given, **promises)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(LakeTable, "append", later)


def test_of_two_replays_at_once_one_is_refused(
    landing: Settings, lake: Lake, strict: Table, mended: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = replace(mended, columns=tuple(replace(column, required=False) for column in mended.columns))
    write(landing, "a.jsonl", paid("P1", "1"), paid(None, "2"))
    load(landing, lake, strict, run_id="load")
    between(monkeypatch, lambda: replay(landing, lake, mended, run_id="faster"))
    with pytest.raises(Fenced):
        replay(landing, lake, lenient, run_id="slower")
    assert seen(lake, strict) == (["P1"], ["replayed", "open"])


def test_a_load_that_reads_the_records_again_meanwhile_fences_a_replay(
    landing: Settings, lake: Lake, strict: Table, mended: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(landing, "a.jsonl", paid("P1", "1"), paid("P3", "300"))
    load(landing, lake, strict, run_id="load")
    # With another end: it is read again as a whole.
    write(landing, "a.jsonl", paid("P1", "1"), paid("P2", "2"))
    between(monkeypatch, lambda: load(landing, lake, mended, run_id="faster"))
    with pytest.raises(Fenced):
        replay(landing, lake, mended, run_id="slower")
    assert replay(landing, lake, mended, run_id="again").there == 1
    assert seen(lake, strict) == (["P1", "P2", "P3"], ["loaded"])


@pytest.mark.parametrize("guarded", [False, True], ids=["to main", "by a branch"])
@pytest.mark.parametrize("window", [None, Window.of_days(date(2026, 1, 1), date(2026, 1, 1))], ids=["full", "a day"])
def test_a_replay_while_rows_are_held_against_bronze_doubles_none(  # noqa: PLR0913  (fixtures)
    landing: Settings, lake: Lake, strict: Table, mended: Table, window: Window | None, *, guarded: bool
) -> None:
    """The load had looked at bronze before the replay came to it, and nothing kept it from adding the row again."""
    write(landing, "2026-01-01.jsonl", paid("P1", "1"), paid("P2", "300"))
    load(landing, lake, strict, run_id="load")
    some = TableRule("some", TableRuleKind.ROW_COUNT, arguments={"bound": Bound(Comparison.GREATER, (0,))})
    table = replace(mended, table_rules=(some,) if guarded else ())
    replayed = list[int]()

    def meanwhile(_rows: int, _what: str) -> None:
        if not replayed:
            replayed.append(replay(landing, lake, mended, run_id="replay").entered)

    result = attempt_load(
        landing,
        lake,
        table,
        run_id="slower",
        full=window is None,
        window=window,
        on_progress=meanwhile,
        gate=Gate(landing, lake, Declarations([table])),
    )
    assert (replayed, result.rows_seen, result.held) == ([1], 2, None)
    assert seen(lake, strict) == (["P1", "P2"], ["replayed"])


@pytest.mark.parametrize("window", [None, Window.of_days(date(2026, 1, 1), date(2026, 1, 1))], ids=["full", "a day"])
def test_rows_that_are_read_again_while_they_are_replayed_are_not_doubled(  # noqa: PLR0913, PLR0917  (fixtures)
    landing: Settings,
    lake: Lake,
    strict: Table,
    mended: Table,
    window: Window | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a load moves no position of the source, by which alone a replay was fenced."""
    write(landing, "2026-01-01.jsonl", paid("P1", "1"), paid("P2", "300"))
    load(landing, lake, strict, run_id="load")
    between(monkeypatch, lambda: load(landing, lake, mended, run_id="faster", full=window is None, window=window))
    with pytest.raises(Fenced):
        replay(landing, lake, mended, run_id="slower")
    assert replay(landing, lake, mended, run_id="again").there == 1
    assert seen(lake, strict) == (["P1", "P2"], ["loaded"])


def test_what_another_writer_has_decided_meanwhile_is_looked_at_again(
    landing: Settings, lake: Lake, strict: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(landing, "a.jsonl", paid("P1", "1"), paid("P2", "2"))
    load(landing, lake, strict, run_id="load")
    merge = LakeTable.merge
    first, second = sorted(str(row["reject_id"]) for row in rows(lake, QUARANTINE))

    def later(self: LakeTable, *given: object, **promises: object) -> object:
        monkeypatch.setattr(LakeTable, "merge", merge)
        discard(landing, lake, strict, ids=[first], why="faster", run_id="faster")
        return merge(self, *given, **promises)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(LakeTable, "merge", later)
    assert discard(landing, lake, strict, rule="large", why="slower", run_id="slower") == 1
    said = {row["reject_id"]: row["why"] for row in rows(lake, QUARANTINE)}
    assert said == {first: "faster", second: "slower"}
