"""What hypothesis draws for a step. What the step does with it belongs with whoever takes it."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_tests.iceberg.machine.drawn import BY as BY_COLUMNS
from assets_tests.iceberg.machine.drawn import GONE, PICK, ROWS, WAY, WHERE
from assets_tests.iceberg.machine.states import Keyed

KILL = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 2), st.booleans()))
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""
KEYED = st.builds(lambda by, way, gone: Keyed(by, way, tuple(gone)), BY_COLUMNS, WAY, GONE)
"""How rows enter by key."""
BY = st.sampled_from(["merge", "merge", "replace_keys", "history"])
"""By which effect they do."""
OTHER = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "who": st.sampled_from(
                [
                    *["writer"] * 2,
                    *["foreign"] * 2,
                    "hides",
                    "evolver",
                    "expiry",
                    "sweep",
                    "compaction",
                    "tag",
                    "branch",
                ]
            ),
            "pick": PICK,
            "rows": ROWS,
            "where": WHERE,
            "keyed": KEYED,
        }
    ),
)
"""Who acts between the plan of a step and its swap; None: nobody."""
