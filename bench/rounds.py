"""Rounds of small loads, corrections and queries, on a table with upkeep and on one without, in turn.

A round is a day of a table with a day window: several small appends, whose rows are of this day and two before; then a
correction of a few of these orders (a small overwrite); then five queries by DuckDB over `iceberg_scan`, planned anew.
`with` is kept up (compaction, expiry) every few rounds, before the queries; what that takes is `rounds_upkeep_s`.
`rounds_query_ms_last_*` is the median of the last five rounds. The two lines are drawn into an SVG file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from bench.plot import Panel, picture
from bench.report import report
from lakehouse.iceberg import Lake, LakeTable, connect
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Layer, Table, TableName
from lakehouse.upkeep import Action, keep_up

_NAME = TableName(Layer.SILVER, "orders")
_COLUMNS = {"id": "long", "customer": "long", "day": "date", "at": "timestamptz", "status": "string", "city": "string"}
_COLUMNS |= {"note": "string", "amount": "decimal(12, 2)"}
_FIRST = date(2026, 1, 1)
_ROWS = """
select i as id, (hash(i) % 20000)::bigint as customer, date '2026-01-01' + ({day} + (hash(i + 7) % 3)::integer) as day,
    timestamptz '2026-01-01 00:00:00+00' + interval ({day} * 86400 + i % 86400) second as at,
    ['placed', 'paid', 'shipped'][1 + i % 3] as status, 'city ' || (hash(i) % 500) as city, md5(i::varchar) as note,
    ((i * {factor}) % 10000)::decimal(12, 2) as amount
from range({first}, {last}) t(i)
"""
_CORRECTED = 50
_LAST = 5
_REPEATS = 3
_MB = 1 << 20


@dataclass
class Side:
    """One of the two tables, and what was seen of it, round by round."""

    settings: Settings
    lake: Lake
    table: LakeTable
    query_ms: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    live_mb: list[float] = field(default_factory=list)
    write_s: float = 0.0
    upkeep_s: float = 0.0

    @classmethod
    def open(cls, state: Path) -> Side:
        """An empty table in a lake of its own: a folder and SQLite."""
        state.mkdir()
        settings = load_settings(
            Path.cwd(),
            state=str(state),
            catalog={"uri": f"sqlite:///{state}/catalog.db"},
            warehouse=f"file://{state}/warehouse",
        )
        columns = tuple(Column(name, kind) for name, kind in _COLUMNS.items())
        declared = Table(_NAME, "bench", "benchmark", columns, Path(__file__), window_column="day", window_start=_FIRST)
        lake = Lake.open(settings)
        return cls(settings, lake, lake.create(declared))

    def load(self, number: int, appends: int, rows: int) -> None:
        """The appends and the correction of one round."""
        began = time.perf_counter()
        first = number * appends * rows
        for part in range(appends):
            start = first + part * rows
            self.table.append(_rows(number, start, start + rows), run_key=f"round {number} part {part}")
        corrected = _rows(number, first, first + _CORRECTED, factor=7)
        which = f"id >= {first} and id < {first + _CORRECTED}"
        self.table.overwrite(corrected, where=which, run_key=f"round {number} correction")
        self.write_s += time.perf_counter() - began

    def keep(self, number: int) -> None:
        """Compaction and expiry, as if all snapshots but the newest were old by now."""
        began = time.perf_counter()
        actions = (Action.COMPACT, Action.EXPIRE)
        later = datetime.now(UTC) + timedelta(days=8)
        done = keep_up(self.settings, self.lake, _NAME, run_id=f"round {number}", actions=actions, now=later)
        if done.troubles:
            raise SystemExit("; ".join(done.troubles))
        self.upkeep_s += time.perf_counter() - began

    def look(self, connection: duckdb.DuckDBPyConnection, number: int, rows: int) -> None:
        """The queries of one round: the quickest of three times."""
        self.query_ms.append(1000 * min(_seconds(lambda: self._ask(connection, number, rows)) for _ in range(_REPEATS)))
        live = self.table.live_files()
        self.files.append(float(len(live)))
        self.live_mb.append(sum(file.bytes for file in live) / _MB)

    def _ask(self, connection: duckdb.DuckDBPyConnection, number: int, rows: int) -> None:
        orders = self.lake.relation_sql(_NAME)
        today = f"day = date '{_FIRST + timedelta(days=number)}'"
        for query in (
            f"select count(*), sum(amount) from {orders}",
            f"select day, status, count(*), sum(amount) from {orders} group by all",
            f"select city, sum(amount) as total from {orders} group by city order by total desc limit 10",
            f"select customer, count(*) from {orders} where {today} group by customer order by 2 limit 5",
            f"select * from {orders} where id = {number * rows // 2}",
        ):
            connection.execute(query).fetchall()

    def disk_mb(self) -> float:
        """All that lies in the warehouse: metadata and what earlier snapshots hold, too."""
        folder = Path(self.settings.warehouse.removeprefix("file://")) / "silver"
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / _MB


def _rows(number: int, first: int, last: int, factor: int = 1) -> pa.Table:
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        filled = _ROWS.format(day=number, first=first, last=last, factor=factor)
        return connection.execute(filled).to_arrow_table()


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(folder: Path, words: argparse.Namespace) -> dict[str, Side]:
    """Both tables after all rounds. Each step is done on one, then on the other, so that noise reaches both."""
    sides = {kind: Side.open(folder / kind) for kind in ("without", "with")}
    rows = words.appends * words.rows
    with connect(sides["with"].settings) as connection:
        for number in range(words.rounds):
            for side in sides.values():
                side.load(number, words.appends, words.rows)
            if (number + 1) % words.every == 0:
                sides["with"].keep(number)
            for side in sides.values():
                side.look(connection, number, rows)
    if len({side.lake.table(_NAME).stats().rows for side in sides.values()}) > 1:
        raise SystemExit("upkeep changed the rows")
    return sides


def figures(sides: dict[str, Side]) -> dict[str, float]:
    """What is told of both after the last round."""
    found: dict[str, float] = {}
    for kind, side in sides.items():
        found |= {
            f"rounds_query_ms_last_{kind}": statistics.median(side.query_ms[-_LAST:]),
            f"rounds_files_{kind}": side.files[-1],
            f"rounds_live_mb_{kind}": side.live_mb[-1],
            f"rounds_disk_mb_{kind}": side.disk_mb(),
            f"rounds_write_s_{kind}": side.write_s,
        }
    return found | {"rounds_upkeep_s": sides["with"].upkeep_s}


def drawn(sides: dict[str, Side]) -> str:
    """Both tables over the rounds."""
    queries = Panel("Five queries, ms", {f"{kind} upkeep": side.query_ms for kind, side in sides.items()})
    files = Panel("Live data files", {f"{kind} upkeep": side.files for kind, side in sides.items()})
    return picture([queries, files], "round")


def main() -> None:
    """Measure, draw and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--appends", type=int, default=4, help="in a round")
    parser.add_argument("--rows", type=int, default=5_000, help="in an append")
    parser.add_argument("--every", type=int, default=5, help="rounds between two upkeeps")
    parser.add_argument("--svg", type=Path, help="where to draw (bench/rounds.svg is what README.md shows)")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = measure(Path(folder), words)
        found = figures(sides)
    if words.svg is not None:
        words.svg.write_text(drawn(sides), encoding="utf-8")
    ratio = found["rounds_query_ms_last_without"] / found["rounds_query_ms_last_with"]
    series = {f"query_ms_{kind}": side.query_ms for kind, side in sides.items()}
    series |= {f"files_{kind}": side.files for kind, side in sides.items()}
    report("rounds", found, {"rounds_query_with_vs_without": ratio}, words.json, series)


if __name__ == "__main__":
    main()
