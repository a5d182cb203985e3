"""What comes from outside: new, late and corrected rows, those of another program, and the right to be forgotten."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule
from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.changes.machine.chain import B_ORDERS, B_PAYMENTS, B_RATES
from assets_tests.changes.machine.drawn import LOAD, PICK
from assets_tests.changes.machine.model import BORN, Row
from assets_tests.changes.machine.world import World
from lakehouse.tables import TableName

Load = tuple[str, list[Any]]


class Source(World):
    @rule(load=LOAD, foreign=st.sampled_from([False, False, False, True]))
    def load(self, load: Load, *, foreign: bool) -> None:
        """Late, before its order, a correction, or gone in the source; or brought by another program."""
        name, rows = self.arrived(load)
        if foreign:
            self.foreign_append(name, rows)
            self.model.moved(name, self.model.content[name] | frozenset(rows))
            self.seen(name)
        else:
            self.append(name, rows)
        World.done[f"load of {load[0]}"] += 1

    # A rule is drawn as often as the class lists it.
    load_too = load
    load_once_more = load

    def arrived(self, load: Load) -> tuple[TableName, Sequence[Row]]:
        kind, drawn = load
        if kind == "orders":
            return B_ORDERS, [(one, BORN[one], *rest, next(self.numbers), gone) for one, *rest, gone in drawn]
        if kind == "payments":
            return B_PAYMENTS, [(*rest, next(self.numbers), gone) for *rest, gone in drawn]
        return B_RATES, [(*row, next(self.numbers)) for row in drawn]

    def foreign_append(self, name: TableName, rows: Sequence[Row]) -> None:
        """Stock PyIceberg, which says nothing about what it does."""
        catalog = SqlCatalog(
            self.settings.catalog.name,
            uri=self.settings.catalog.uri.get_secret_value(),
            warehouse=self.settings.warehouse,
        )
        try:
            with warnings.catch_warnings(action="ignore"):
                catalog.load_table(name.key).append(self.batch(name, rows))
        finally:
            catalog.engine.dispose()

    @rule(payments=st.booleans(), pick=PICK)
    def erase(self, pick: int, *, payments: bool) -> None:
        """All versions of an order, or of the payments for it, leave the history."""
        name = B_PAYMENTS if payments else B_ORDERS
        old = self.model.content[name]
        at = 1 if payments else 0
        gone = frozenset(row for row in old if row[at] == pick)
        self.tables[name].delete(f"order_id = {pick}", run_key=f"erase{next(self.numbers)}")
        if gone:
            self.model.moved(name, old - gone)
        self.seen(name)
        World.done["erase"] += 1
