"""What a follower does: asks what has changed since a snapshot that it has read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pyarrow.compute as pc
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import PICK
from assets_tests.iceberg.machine.states import EMPTY, Row, rows_of
from assets_tests.iceberg.machine.steps import Steps, outcome
from lakehouse.errors import QueryError
from lakehouse.iceberg import CHANGE, LakeTable

KEY = st.sampled_from([(), ("id",), ("id",)])
Change = tuple[str, Row]
"""What happened, and to which row."""


class Follower(Steps):
    @precondition(lambda self: self.model.main is not EMPTY)
    @rule(pick=PICK, back=st.integers(0, 9), key=KEY)
    def changes(self, pick: int, back: int, key: tuple[str, ...]) -> None:
        """Net, of any part of a ref's history; with a key, as images before and after."""
        ref = self.ref(pick)
        head = self.model.head(ref)
        past = [state for state in head.history if not state.inner]
        since = past[back % len(past)]
        self.done[changes_are(self.auditor, self.ids[since], ref, key, since.rows, head.rows)] += 1


def changes_are(  # noqa: PLR0913, PLR0917  (between which states, in which form)
    table: LakeTable, since: int, until: str, key: tuple[str, ...], before: Collection[Row], after: Collection[Row]
) -> str:
    """Check what is told of the changes between two states; what kind of changes they were."""
    added, removed = Counter(after) - Counter(before), Counter(before) - Counter(after)
    ids = [[row[0] for row in side.elements()] for side in (added, removed)]
    found = list[Change]()

    def act() -> None:
        with table.changes(since, until=until, key=key) as changes:
            rows = changes.rows().read_all()
            for what in set(rows[CHANGE].to_pylist()):
                told = rows.filter(pc.equal(rows[CHANGE], what)).select(table.schema().names[:3])
                found.extend((what, row) for row in rows_of(told))

    came = outcome(act)
    if key and any(len(set(side)) < len(side) for side in ids):
        assert came is QueryError
        return "changes: QueryError"
    paired = set(ids[0]) & set(ids[1]) if key else set[int]()
    expected = [("update_after" if row[0] in paired else "insert", row) for row in added.elements()]
    expected += [("update_before" if row[0] in paired else "delete", row) for row in removed.elements()]
    assert (came, sorted(found)) == (None, sorted(expected))
    return "changes of updates" if paired else "changes"
