"""What `lakehouse demo deliver` puts into the landing folder: late files, and the newest one again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lakehouse.errors import SourceChanged

if TYPE_CHECKING:
    from conftest import Month


def test_the_newest_file_is_that_of_the_newest_day_whatever_came_late(new_shop: Callable[..., Month]) -> None:
    made = new_shop()
    made.shop.create()
    *_, newest = made.shop.advance(3)
    *_, late = made.shop.advance(0, late=1)
    assert "-late-" in late
    assert made.shop.newest_file() == newest
    *_, newer = made.shop.advance(2)
    assert newer != newest
    assert made.shop.newest_file() == max(newest, newer)


def test_in_a_folder_without_files_there_is_no_newest(new_shop: Callable[..., Month]) -> None:
    made = new_shop()
    made.shop.create()
    (made.landing / "payments").mkdir(parents=True)
    with pytest.raises(SourceChanged, match="no payment file has come yet"):
        made.shop.newest_file()
