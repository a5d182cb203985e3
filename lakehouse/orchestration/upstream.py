"""The tables that a table is computed from, directly or not, in the order in which they are computed. Pure.

Who reads whom is told by `model_graph.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from lakehouse.errors import TableMissing
from lakehouse.tables import TableName

Parents = Mapping[TableName, frozenset[TableName]]
"""For each table that a model writes: the tables that it reads, through views."""


def upstream_first(parents: Parents, name: TableName) -> tuple[TableName, ...]:
    """A table and all that it is computed from: each behind what it reads, the table itself last."""
    order: dict[TableName, None] = {}
    seen = {name}

    def visit(one: TableName) -> None:
        for parent in sorted(parents.get(one, ())):
            # A model may read the table that it writes.
            if parent not in seen:
                seen.add(parent)
                visit(parent)
        order[one] = None

    visit(name)
    return tuple(order)


def of_chain(parents: Parents, chain: tuple[TableName, ...]) -> Parents:
    """The parents of these tables only."""
    return {name: parents[name] for name in chain if name in parents}


def require_declared(declared: Mapping[TableName, object], name: TableName) -> None:
    """Raises TableMissing, with the nearest name, for a table that no contract declares."""
    if name not in declared:
        near = get_close_matches(str(name), map(str, declared), n=1)
        raise TableMissing(
            f"no contract declares {name}",
            remedy=f"Did you mean {near[0]}?" if near else "Run `lakehouse table list` for the tables there are.",
        )
