"""What a model's table follows: its edges, by the manifest of the run.

What an edge is, and how far it was followed, is `changes/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.changes.edges import Edge, edges_of
from lakehouse.tables import Table
from lakehouse.transform.manifest import Manifest

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations


def edges_in(manifest: Manifest, table: Table, declarations: Declarations) -> tuple[Edge, ...]:
    """The edges of a table that is computed by days; none of another one, and of one that the manifest has not."""
    if not table.follows_by_days or table.name not in manifest.by_table:
        return ()
    return edges_of(table, manifest.parents(table.name), declarations)
