"""What hypothesis draws for a step. What the step does with it belongs with whoever takes it."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_tests.iceberg.machine.drawn import PICK, ROWS, WHERE

KILL = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 2), st.booleans()))
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""
OTHER = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "who": st.sampled_from(
                ["writer", "foreign", "foreign", "hides", "expiry", "sweep", "compaction", "tag", "branch"]
            ),
            "pick": PICK,
            "rows": ROWS,
            "where": WHERE,
        }
    ),
)
"""Who acts between the plan of a step and its swap; None: nobody."""
