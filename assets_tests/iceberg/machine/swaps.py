"""What may befall a step at a swap of the catalog: the process dies. That somebody writes first: `overtaking`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed(at: tuple[int, bool] | None) -> Iterator[list[bool]]:
    """End the block at this swap of the catalog, before or after it lands; nothing is swapped afterwards."""
    honest, numbers, reached = SqlCatalog.commit_table, count(), list[bool]()

    def swap(*arguments: Any) -> Any:  # noqa: ANN401  (PyIceberg's own)
        number = next(numbers)
        if at is None or number < at[0]:
            return honest(*arguments)
        if number == at[0] and at[1]:
            honest(*arguments)
        reached.append(at[1])
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", swap)
        try:
            yield reached
        except Killed:
            return
