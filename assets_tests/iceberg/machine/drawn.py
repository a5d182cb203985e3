"""What hypothesis draws for a step. What the step does with it belongs with whoever takes it."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_tests.iceberg.machine.states import Where

ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), max_size=3)
WHERE = st.one_of(
    st.builds(lambda a, b: Where("window", min(a, b), max(a, b)), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 9).map(lambda low: Where("ids", low, low)),
    st.just(Where("all", 1, 1)),
)
PICK = st.integers(0, 11)
WRITER = st.integers(0, 1)
EFFECT = st.sampled_from(["append", "append", "append", "overwrite", "overwrite", "delete", "replace"])
FENCE = st.sampled_from(["none", "right", "right", "stale"])
RUN = st.fixed_dictionaries(
    {
        "effect": EFFECT,
        "pick": PICK,
        "rows": ROWS,
        "where": WHERE,
        "writer": WRITER,
        "moves": st.booleans(),
        "fence": FENCE,
    }
)
FOREIGN = st.sampled_from(["append", "append", "overwrite", "delete"])
KILL = st.none() | st.tuples(st.integers(0, 3), st.booleans())
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""
