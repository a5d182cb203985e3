"""What may befall a step: the process dies at a swap of the catalog or in a deletion, or somebody acts in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from assets_tests.iceberg.machine.model import AuditFailed
from assets_tests.iceberg.machine.swaps import Killed
from assets_tests.iceberg.overtaking import swap_overtaken
from lakehouse.errors import LakehouseError


@dataclass(frozen=True)
class Came:
    """How a step ended: with an answer, with an error of ours, or killed (`landed`: after its swap)."""

    answer: Any = None
    error: Exception | None = None
    killed: bool = False
    landed: bool = False

    @property
    def well(self) -> bool:
        return self.error is None and not self.killed


def tried(act: Callable[[], object]) -> Came:
    """Carry a step out to its end."""
    try:
        return Came(act())
    except (LakehouseError, AuditFailed) as error:
        return Came(error=error)


def killed(catalog: type[Catalog], at: tuple[int, bool], act: Callable[[], object]) -> Came:
    """Carry a step out until this swap, and die before or after it lands; it may end earlier."""
    honest, numbers = catalog.commit_table, count()

    def swap(*arguments: Any) -> Any:  # noqa: ANN401  (PyIceberg's own)
        if (number := next(numbers)) < at[0]:
            return honest(*arguments)
        if number == at[0] and at[1]:
            honest(*arguments)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "commit_table", swap)
        return _until_death(act, landed=at[1])


def overtaken(catalog: type[Catalog], meanwhile: Callable[[], None], act: Callable[[], object]) -> Came:
    """Carry a step out; somebody acts just before its first swap."""
    with swap_overtaken(catalog, meanwhile):
        return tried(act)


class Mortal:
    """A store whose user dies when so many files are deleted; None: it lives."""

    def __init__(self, store: Any, after: int | None = None) -> None:  # noqa: ANN401  (any store)
        self._store, self._left = store, after
        self.died = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a store has)
        return getattr(self._store, name)

    def delete(self, paths: Iterable[str]) -> Any:  # noqa: ANN401  (what the store answers)
        if self._left is None:
            return self._store.delete(paths)
        asked = list(paths)
        now = list(islice(asked, self._left))
        answer = self._store.delete(now)
        self._left -= len(now)
        if len(now) < len(asked):
            self.died = True
            raise Killed
        return answer


def until_death(act: Callable[[], object]) -> Came:
    """Carry a step out whose store is mortal."""
    return _until_death(act, landed=True)


def _until_death(act: Callable[[], object], *, landed: bool) -> Came:
    try:
        return tried(act)
    except Killed:
        return Came(killed=True, landed=landed)
