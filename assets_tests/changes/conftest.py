"""A small chain of daily tables on a real lake, built by plain SQL: what a build commits is what a run would."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lakehouse.changes import Memory, Stale, advanced, consumed, edges_of, stale_days, stale_models
from lakehouse.contracts import Declarations
from lakehouse.iceberg import (
    MAIN,
    Commit,
    Lake,
    arrow_schema,
    connect,
    content_summary,
    read_summary,
    register,
    snapshots_read,
)
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Strategy, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
Row = dict[str, Any]
START = date(2026, 1, 1)
LOADED = {"_extracted_at": datetime(2026, 1, 1, tzinfo=UTC), "_source": "test", "_run_key": "test"}


def named(text: str) -> TableName:
    return TableName.parse(text)


def day(number: int) -> date:
    return date(2026, 1, number)


def column(name: str, kind: str = "long", *, required: bool = False) -> Column:
    return Column(name, kind, required=required)


def table(name: str, columns: Sequence[Column], **more: Any) -> Table:  # noqa: ANN401  (any field of a Table)
    of = named(name)
    if more.get("window_column"):
        more = {"window_start": START, "strategy": Strategy.OVERWRITE, **more}
    return Table(of, "test", "", tuple(columns), Path(f"{name}.yaml"), **more)


ORDERS = table(
    "bronze.orders",
    [column("order_id", required=True), column("day", "date", required=True), column("n")],
    primary_key=("order_id",),
    window_column="day",
    strategy=Strategy.APPEND,
)
PAYMENTS = table("bronze.payments", [column("payment_id"), column("order_id"), column("amount")])
SILVER = replace(ORDERS, name=named("silver.orders"), strategy=Strategy.OVERWRITE)
PAID = table("silver.payments", PAYMENTS.columns, primary_key=("payment_id",))
GOLD = table(
    "gold.orders",
    [*SILVER.columns, column("paid")],
    primary_key=("order_id",),
    window_column="day",
)
SQL = {
    SILVER.name: "select order_id, day, max(n) as n from bronze.orders where {window} group by all",
    PAID.name: "select payment_id, order_id, amount from bronze.payments",
    GOLD.name: """
        select placed.*, coalesce((select sum(amount) from silver.payments as p where p.order_id = placed.order_id), 0)
            as paid
        from silver.orders as placed where {window}""",
}
PARENTS = {
    SILVER.name: frozenset({ORDERS.name}),
    PAID.name: frozenset({PAYMENTS.name}),
    GOLD.name: frozenset({SILVER.name, PAID.name}),
}


@dataclass
class Chain:
    """The lake, what is declared in it, and how its models are built. `declare` and `parents` may be changed."""

    settings: Settings
    lake: Lake
    duck: duckdb.DuckDBPyConnection
    tables: list[Table] = field(default_factory=lambda: [ORDERS, PAYMENTS, SILVER, PAID, GOLD])
    sql: dict[TableName, str] = field(default_factory=lambda: dict(SQL))
    parents: dict[TableName, frozenset[TableName]] = field(default_factory=lambda: dict(PARENTS))
    keys: count[int] = field(default_factory=count)

    @property
    def declarations(self) -> Declarations:
        return Declarations(self.tables)

    def add(self, table: Table, sql: str = "", parents: Iterable[str] = ()) -> None:
        """Declare a table, in place of one of its name; with SQL it is a model."""
        self.tables = [*(one for one in self.tables if one.name != table.name), table]
        if sql:
            self.sql[table.name], self.parents[table.name] = sql, frozenset(map(named, parents))

    def load(self, name: str, rows: Sequence[Row]) -> Commit:
        """Append rows to a bronze table."""
        declared = self.declarations[named(name)]
        target = self.lake.create(declared)
        schema = arrow_schema(declared.stored_columns)
        batch = pa.Table.from_pylist([{**LOADED, **row} for row in rows], schema=schema)
        return target.append(batch.to_reader(), run_key=f"load-{next(self.keys)}")

    def orders(self, *rows: tuple[int, int, int]) -> Commit:
        """Append (order_id, day of January, n) to bronze.orders."""
        return self.load("bronze.orders", [{"order_id": o, "day": day(d), "n": n} for o, d, n in rows])

    def payments(self, *rows: tuple[int, int, int]) -> Commit:
        """Append (payment_id, order_id, amount) to bronze.payments."""
        columns = ("payment_id", "order_id", "amount")
        return self.load("bronze.payments", [dict(zip(columns, row, strict=True)) for row in rows])

    def build(
        self,
        name: str,
        *days: int,
        branch: str = MAIN,
        at: str = MAIN,
        progress: bool = True,
        read: Mapping[TableName, int] | None = None,
    ) -> Commit:
        """Compute a model anew, for some days of January or as a whole, as `transform/` does; `at`: what it reads."""
        declared = self.declarations[named(name)]
        window = Window.of_days(day(min(days)), day(max(days))) if days else None
        column = declared.window_column
        inside = f"{column} >= '{window.start}' and {column} < '{window.end}'" if window else "true"
        sql = self.sql[declared.name].format(window=inside)
        register(self.duck, self.lake, at=at)
        read = {**snapshots_read(self.duck, self.lake, sql), **(read or {})}
        target = self.lake.create(declared)
        if branch != MAIN:
            target.create_branch(branch)
        promise: dict[str, Any] = {"run_key": f"build-{next(self.keys)}", "branch": branch}
        if declared.windowed and progress:
            edges = edges_of(declared, self.parents[declared.name], self.declarations)
            moved, expected = advanced(self.lake, self.duck, edges, window=window, read=read, branch=branch)
            promise |= {"progress": moved, "expected_progress": expected}
        names = ", ".join(one.name for one in declared.stored_columns)
        rows = self.duck.execute(f"select {names} from ({sql})").to_arrow_reader()
        summary = {**read_summary(read), **content_summary(self.lake, read)}
        return target.overwrite(rows, where=window, summary=summary, **promise)

    def build_all(self) -> None:
        """Everything once, parents first."""
        for name in ("silver.payments", "silver.orders", "gold.orders"):
            self.build(name)

    def stale(self, known: Memory | None = None) -> dict[str, list[int]]:
        """Days of January that are out of date, by table."""
        return {name: [of.day for of in found.days] for name, found in self.causes(known).items()}

    def causes(self, known: Memory | None = None) -> dict[str, Stale]:
        found = stale_days(self.settings, self.lake, self.declarations, self.parents, known=known)
        return {str(name): stale for name, stale in found.items()}

    def models(self) -> dict[str, list[str]]:
        found = stale_models(self.lake, self.declarations, self.parents)
        return {str(name): [str(one) for one in upstreams] for name, upstreams in found.items()}

    def pending(self, name: str, upstream: str, branch: str = MAIN) -> list[int]:
        """Days of January that a table still waits for from an upstream."""
        return sorted(of.day for of in consumed(self.lake, named(name), branch)[named(upstream)].pending)

    def rows(self, name: str) -> list[tuple[object, ...]]:
        read = self.lake.table(named(name)).scan().read_all().to_pylist()
        return sorted(tuple(row.values()) for row in read)


class TenDays:
    """Ten days with an order each, whose number is its day's; orders 1 to 3 are paid. All is built, once.

    Every test has it as it was: what the one before made of it is thrown away.
    """

    def __init__(self, folder: Path) -> None:
        self._kept, state = folder / "kept", folder / "state"
        state.mkdir()
        self.settings = load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})
        with connect(self.settings) as connection:
            chain = Chain(self.settings, Lake.open(self.settings), connection)
            chain.orders(*((number, number, number) for number in range(1, 11)))
            chain.payments((1, 1, 10), (2, 2, 20), (3, 3, 30))
            chain.build_all()
            self._keys = next(chain.keys)
        shutil.copytree(state, self._kept)

    @contextmanager
    def again(self) -> Iterator[Chain]:
        """The chain over it, in the one folder that its paths lead to."""
        shutil.rmtree(self.settings.state)
        shutil.copytree(self._kept, self.settings.state)
        with connect(self.settings) as connection:
            yield Chain(self.settings, Lake.open(self.settings), connection, keys=count(self._keys))


@pytest.fixture
def chain(settings: Settings, lake: Lake) -> Iterator[Chain]:
    with connect(settings) as connection:
        yield Chain(settings, lake, connection)


@pytest.fixture(scope="session")
def ten_days(tmp_path_factory: pytest.TempPathFactory) -> TenDays:
    return TenDays(tmp_path_factory.mktemp("ten_days"))


@pytest.fixture
def built(ten_days: TenDays) -> Iterator[Chain]:
    with ten_days.again() as chain:
        yield chain
