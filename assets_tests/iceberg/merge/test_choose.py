"""Which files are written anew and which get a delete file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iceberg.merge.choose import MOST_HIDDEN, SMALL_BYTES, Loss, ways
from lakehouse.iceberg.merge.rules import Way

ANEW, HIDDEN = Way.COPY_ON_WRITE, Way.MERGE_ON_READ
LARGE = 100 * SMALL_BYTES

losses = st.builds(
    lambda rows, hidden, gone, size: Loss(rows, size, int(hidden * rows), max(1, int(gone * (1 - hidden) * rows))),
    st.integers(1, 10**9),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 2**40),
)


@pytest.mark.parametrize(
    ("loss", "way"),
    [
        (Loss(1000, LARGE, 0, 1), HIDDEN),
        (Loss(1000, LARGE, 0, 300), HIDDEN),
        (Loss(1000, LARGE, 0, 301), ANEW),
        # Those hidden before count: each reader skips them, too.
        (Loss(1000, LARGE, 300, 1), ANEW),
        (Loss(1000, LARGE, 299, 1), HIDDEN),
        (Loss(1000, SMALL_BYTES, 0, 1), ANEW),
        (Loss(1000, SMALL_BYTES + 1, 0, 1), HIDDEN),
    ],
)
def test_small_files_and_those_of_which_much_goes_are_written_anew(loss: Loss, way: Way) -> None:
    assert ways([loss]) == [way]


@given(st.lists(losses), st.sampled_from([*Way, None]))
def test_each_file_is_judged_by_itself(given_losses: list[Loss], forced: Way | None) -> None:
    assert ways(given_losses, forced) == [way for loss in given_losses for way in ways([loss], forced)]


@given(losses, st.sampled_from(Way))
def test_a_forced_way_is_gone_unless_no_row_is_left(loss: Loss, forced: Way) -> None:
    left = loss.rows - loss.hidden - loss.gone
    assert ways([loss], forced) == [forced if left > 0 else ANEW]


@given(losses)
def test_a_file_never_keeps_more_hidden_rows_than_the_share_allows(loss: Loss) -> None:
    if ways([loss]) == [HIDDEN]:
        assert (loss.hidden + loss.gone) / loss.rows <= MOST_HIDDEN


@given(losses, st.integers(1, 1000))
def test_who_loses_more_is_not_hidden_when_less_was_not(loss: Loss, more: int) -> None:
    worse = Loss(loss.rows, loss.bytes, loss.hidden, loss.gone + more)
    if ways([loss]) == [ANEW]:
        assert ways([worse]) == [ANEW]
