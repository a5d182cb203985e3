"""What hypothesis draws for a step. What the step does with it belongs with whoever takes it."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_tests.iceberg.machine.states import Where
from lakehouse.iceberg import Way

MOST_ROWS = 6
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=MOST_ROWS)
"""Few ids, so that one is met again; some rows a file, so that some of them stay."""
WHERE = st.one_of(
    st.builds(lambda a, b: Where("window", min(a, b), max(a, b)), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 9).map(lambda low: Where("ids", low, low)),
    st.just(Where("all", 1, 1)),
)
PICK = st.integers(0, 11)
WRITER = st.integers(0, 1)
EFFECT = st.sampled_from(
    [*["append"] * 3, *["overwrite"] * 2, "delete", "replace", *["merge"] * 5, *["replace_keys"] * 2, *["history"] * 3]
)
EVOLVE = st.sampled_from(["add", "rename", "promote", "partitions", "partitions"])
FENCE = st.sampled_from(["none", "right", "right", "stale"])
BY = st.sampled_from(["id", "id and day", "sequence", "sequence", "sequence"])
WAY = st.sampled_from([None, Way.COPY_ON_WRITE, Way.MERGE_ON_READ, Way.MERGE_ON_READ])
GONE = st.lists(st.sampled_from([False, False, True]), min_size=MOST_ROWS, max_size=MOST_ROWS)
RUN = st.fixed_dictionaries(
    {
        "effect": EFFECT,
        "pick": PICK,
        "rows": ROWS,
        "where": WHERE,
        "writer": WRITER,
        "moves": st.booleans(),
        "fence": FENCE,
        "by": BY,
        "way": WAY,
        "gone": GONE,
    }
)
FOREIGN = st.sampled_from(["append", "append", "overwrite", "delete"])
KILL = st.none() | st.tuples(st.integers(0, 3), st.booleans())
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""
