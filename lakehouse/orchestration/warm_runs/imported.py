"""Whether the code of this process is still the code on disk."""

from __future__ import annotations

import os
import sys


class Imported:
    """The files that this process has imported, as they were."""

    def __init__(self, began: int) -> None:
        """`began`: nanoseconds of the time before the first import."""
        named = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
        self._files = {name: _as_it_is(name) for name in named if isinstance(name, str)}
        self._moved = any(found is not None and found[0] >= began for found in self._files.values())

    def changed(self) -> bool:
        """Whether one of them is another now, or became so while it was imported."""
        return self._moved or any(_as_it_is(name) != found for name, found in self._files.items())


def _as_it_is(file: str) -> tuple[int, int] | None:
    """Time of change in nanoseconds, and size; None where there is no file."""
    try:
        found = os.stat(file)  # noqa: PTH116  (thousands of files, at each run)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
