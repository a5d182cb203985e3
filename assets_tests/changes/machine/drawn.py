"""What hypothesis draws for a step. What the step does with it belongs with whoever takes it."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_tests.changes.machine.chain import DAYS, TABLES, Window, window_of
from assets_tests.changes.machine.model import BORN, RATED

PICK = st.integers(0, 11)
TABLE = st.sampled_from(sorted(TABLES))
CURRENCY = st.sampled_from("AB")
GONE = st.sampled_from([False, False, False, True])
ORDER = st.tuples(st.integers(0, len(BORN) - 1), CURRENCY, st.sampled_from([-1, 0, 10, 20, 20, 30]), GONE)
"""An amount below nothing is what the gate refuses."""
PAYMENT = st.tuples(st.integers(0, 7), st.integers(0, len(BORN) - 1), st.integers(1, 3), GONE)
RATE = st.tuples(CURRENCY, st.sampled_from(RATED), st.integers(1, 4))
LOAD = st.one_of(
    st.lists(ORDER, min_size=1, max_size=3, unique_by=lambda row: row[0]).map(lambda rows: ("orders", rows)),
    st.lists(PAYMENT, min_size=1, max_size=2, unique_by=lambda row: row[0]).map(lambda rows: ("payments", rows)),
    st.lists(RATE, min_size=1, max_size=1).map(lambda rows: ("rates", rows)),
)
SOME = st.one_of(st.just(-1), st.integers(0, 255))
"""Which of the days that are out of date are computed, as bits; -1: all of them."""
KILL = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 5), st.booleans()))
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""
OTHER = st.one_of(
    st.none(),
    st.none(),
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 3),
            "who": st.sampled_from(["source", "source", "asker", "compaction", "expiry", "eraser"]),
            "table": TABLE,
            "load": LOAD,
            "pick": PICK,
        }
    ),
)
"""Who acts just before which swap of a run; None: nobody."""


def _window(first: int, last: int) -> Window:
    return window_of(min(first, last), max(first, last))


WINDOW = st.one_of(st.none(), st.builds(_window, st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)))
