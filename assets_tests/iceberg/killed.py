"""The child that `test_kill.py` starts: it works on tables and is killed at a named step of each work.

Every case runs in a process forked from this one, on a table of its own, and dies by SIGKILL at its step. What it
reached until then it has said before, one step after another. Answers on stdout with one JSON line for each case.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self

import duckdb
import pyarrow as pa
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile

from lakehouse.iceberg import Lake, LakeTable, Way
from lakehouse.iceberg.catalogs.sql_catalog import SqlLakeCatalog
from lakehouse.iceberg.parquet import encode
from lakehouse.iceberg.parquet.data_file import FileMaker
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "begin", "end"
_DAY = date(2026, 1, 1)
_BRANCH = "run/load"


@dataclass(frozen=True)
class Work:
    """Something that can be killed: what is there before, what is done, and each step of it, in order.

    `shows`: the step that lets main show its rows, `done` the one that brings run key and progress, where that is a
    later one. `leaves`: the steps after which one ref more stays behind than without a kill; it ends by its age, or a
    later rebase drops it.
    """

    prepare: Callable[[LakeTable], object]
    act: Callable[[LakeTable], object]
    steps: tuple[str, ...]
    shows: str = ""
    done: str = ""
    leaves: tuple[str, ...] = ()
    branch: str = "main"
    cases: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cases", (BEGIN, *self.steps, END))


def contract(name: str) -> Table:
    """A table partitioned by day."""
    return Table(
        name=TableName(Layer.SILVER, name),
        domain="shop",
        description="Orders",
        columns=(Column("order_id", "long", required=True), Column("order_date", "date", required=True)),
        file=Path("orders.yaml"),
        window_column="order_date",
        window_start=_DAY,
    )


def table_name(work: str, case: str) -> str:
    """The table of one case."""
    return f"{work}_{case.replace(' ', '_')}"


def _rows(table: LakeTable, **ids: int) -> pa.Table:
    """a=1: order 1 on the first day; b=2: order 2 on the second."""
    days = [_DAY + timedelta(days=ord(name[0]) - ord("a")) for name in ids]
    return pa.table({"order_id": list(ids.values()), "order_date": days}, schema=table.schema())


def _seed(table: LakeTable) -> None:
    table.append(_rows(table, a=1, a2=2, b=3), run_key="seed", progress={"shop": {"at": 0}})


def _append(table: LakeTable, branch: str = "main") -> None:
    table.append(_rows(table, a=4, c=5), run_key="load", branch=branch, progress={"shop": {"at": 1}})


def _overwrite(table: LakeTable) -> None:
    rows = _rows(table, a=1, b=3)
    table.overwrite(rows, where="order_id in (1, 3)", run_key="load", progress={"shop": {"at": 1}})


def _delete(table: LakeTable) -> None:
    table.delete("order_id = 1", run_key="load", progress={"shop": {"at": 1}})


def _replace(table: LakeTable) -> None:
    paths = [task.file.file_path for task in table._load().scan().plan_files()]  # noqa: SLF001  (paths are metadata's)
    table.replace_files(paths, table.scan().read_all(), run_key="load", progress={"shop": {"at": 1}})


def _by_key(table: LakeTable, effect: str, way: Way) -> None:
    """Order 1 anew, and 5 comes; where keys are replaced, order 1 gets a second row."""
    rows = _rows(table, a=1, c=5) if effect == "merge" else _rows(table, a=1, c=1, c2=5)
    given: dict[str, Any] = {"way": way, "run_key": "load", "progress": {"shop": {"at": 1}}}
    with duckdb.connect() as connection:
        getattr(table, effect)(rows, key=["order_id"], connection=connection, **given)


def _staged(table: LakeTable) -> None:
    _seed(table)
    table.create_branch(_BRANCH)
    _append(table, _BRANCH)


def _overtaken(table: LakeTable) -> None:
    _staged(table)
    table.append(_rows(table, b=9), run_key="other")


def _wrong(table: LakeTable) -> None:
    _seed(table)
    table.tag("good")
    _append(table)


def _lease(table: LakeTable) -> None:
    with table.lease(max_age=timedelta(hours=1)):
        pass


_FILES = ("data 1", "data 2", "manifest 1", "list 1", "metadata 1", "swap 1")
_CHANGE = ("data 1", "data 2", "manifest 1", "manifest 2", "list 1", "metadata 1", "swap 1")
_ONE, _TWO = ("metadata 1", "swap 1"), ("metadata 1", "swap 1", "metadata 2", "swap 2")
WORKS = {
    "append": Work(_seed, _append, _FILES, shows="swap 1"),
    "overwrite": Work(_seed, _overwrite, _CHANGE, shows="swap 1"),
    "delete": Work(
        _seed, _delete, (_CHANGE[0], "manifest 1", "manifest 2", "manifest 3", *_CHANGE[4:]), shows="swap 1"
    ),
    "replace": Work(_seed, _replace, _CHANGE, shows="swap 1"),
    # The third is the delete file, and the file that is written anew.
    **{
        name: Work(
            _seed,
            partial(_by_key, effect=effect, way=Way.MERGE_ON_READ),
            (*_CHANGE[:2], "data 3", *_CHANGE[2:]),
            shows="swap 1",
        )
        for name, effect in (("merge_on_read", "merge"), ("replace_keys", "replace_keys"))
    },
    "merge_by_copy": Work(
        _seed,
        partial(_by_key, effect="merge", way=Way.COPY_ON_WRITE),
        (*_CHANGE[:2], "data 3", *_CHANGE[2:4], "manifest 3", *_CHANGE[4:]),
        shows="swap 1",
    ),
    "create_branch": Work(_seed, lambda table: table.create_branch(_BRANCH), _ONE, branch=_BRANCH),
    "first_branch": Work(
        lambda _table: None, lambda table: table.create_branch(_BRANCH), ("list 1", *_TWO), "swap 1", branch=_BRANCH
    ),
    "publish": Work(_staged, lambda table: table.publish(_BRANCH), _TWO, shows="swap 1"),
    "publish_windows": Work(
        _staged,
        lambda table: table.publish_windows(_BRANCH, [Window(_DAY, _DAY + timedelta(days=5))]),
        ("manifest 1", "list 1", "metadata 1", "swap 1", "list 2", "metadata 2", "swap 2", "metadata 3", "swap 3"),
        shows="swap 1",
        done="swap 2",
    ),
    "rebase": Work(
        _overtaken,
        lambda table: table.rebase(_BRANCH),
        (*_TWO[:2], "manifest 1", "list 1", "metadata 2", "swap 2", "metadata 3", "swap 3", "metadata 4", "swap 4"),
        leaves=("swap 1", "manifest 1", "list 1", "metadata 2", "swap 2", "metadata 3", "swap 3", "metadata 4"),
        branch=_BRANCH,
    ),
    "restore": Work(
        _wrong,
        lambda table: table.restore(table.plan_restore(to="good")),
        _TWO,
        shows="swap 2",
        leaves=("swap 1", "metadata 2"),
    ),
    "tag": Work(_seed, lambda table: table.tag("good"), _ONE),
    "lease": Work(_seed, _lease, _TWO, leaves=("swap 1", "metadata 2")),
}


class _Stream:
    """An output stream that says when a file is complete."""

    def __init__(self, stream: OutputStream, closed: Callable[[], None]) -> None:
        self._stream, self._closed = stream, closed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a stream has)
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._stream.closed:
            self._stream.close()
            self._closed()


def _kind(location: str) -> str:
    name = location.rpartition("/")[2]
    if name.endswith(".parquet"):
        return "data"
    if name.endswith(".metadata.json"):
        return "metadata"
    return "list" if name.startswith("snap-") else "manifest"


def hook(die_at: str, say: int) -> Callable[[str], None]:
    """From now on say each step, and die at one. Answers what to call when a further kind of step is reached."""
    seen: dict[str, int] = {}
    create, swap, adopt, alone = PyArrowFile.create, SqlLakeCatalog.swap, FileMaker.adopt, Lock()

    def reach(kind: str) -> None:
        seen[kind] = seen.get(kind, 0) + 1
        step = f"{kind} {seen[kind]}"
        os.write(say, f"{step}\n".encode())
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "data" and alone.locked():
            alone.release()

    def creating(file: PyArrowFile, overwrite: bool = False) -> Any:  # noqa: ANN401  (as it is)
        if (kind := _kind(file.location)) == "data":
            # Rows and delete files are written by several threads.
            alone.acquire()
        return _Stream(create(file, overwrite), lambda: reach(kind))

    def swapping(catalog: SqlLakeCatalog, *given: Any) -> Any:  # noqa: ANN401  (as it is)
        answer = swap(catalog, *given)
        reach("swap")
        return answer

    def adopting(files: FileMaker, *given: Any) -> Any:  # noqa: ANN401  (as it is)
        # Written by DuckDB, which opens no stream of ours.
        reach("data")
        return adopt(files, *given)

    FileMaker.adopt = adopting  # type: ignore[method-assign]
    PyArrowFile.create = creating  # type: ignore[method-assign]  # this process ends at once
    SqlLakeCatalog.swap = swapping  # type: ignore[method-assign]
    # One file after another, so that the second is not begun when the first is complete.
    encode._AT_ONCE = 1  # noqa: SLF001
    return reach


def _case(work: str, case: str, lake: Callable[[], Lake], say: int) -> None:
    table = lake().create(contract(table_name(work, case)))
    WORKS[work].prepare(table)
    if case == BEGIN:
        return
    hook(case, say)
    WORKS[work].act(table)


def forked(work: str, case: str, run: Callable[[int], None]) -> dict[str, object]:
    """Run a case in a process of its own; what it said, and how it ended: -9 killed, 0 done."""
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(hear)
            run(say)
            code = 0
        finally:
            os._exit(code)
    os.close(say)
    with os.fdopen(hear) as heard:
        reached = heard.read().splitlines()
    _, status = os.waitpid(child, 0)
    return {"work": work, "case": case, "reached": reached, "code": os.waitstatus_to_exitcode(status)}


def main(state: str, warehouse: str, name: str, uri: str) -> None:
    """Run every case."""
    settings = load_settings(ROOT, state=state, warehouse=warehouse, catalog={"name": name, "uri": uri})
    for work, what in WORKS.items():
        for case in what.cases:
            run = partial(_case, work, case, lambda: Lake.open(settings))
            sys.stdout.write(json.dumps(forked(work, case, run)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
