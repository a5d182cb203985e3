"""Great Expectations, imported once a process and no sooner than somebody asks. What is done with it is `engine.py`."""

from __future__ import annotations

import sys
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from lakehouse.environment import exported

_ENGINE = "lakehouse.quality.engine"
_RARELY = ("scipy.stats", "altair")
"""Two fifths of the import, for distributions and charts that hardly an expectation asks for."""
_OUTDATED = r"module 'sre_\w+' is deprecated"


class _Late(ModuleType):
    """In the place of a module that is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (what the module has)
        # The importer itself asks for such names.
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(import_module(self.__name__), name)


@cache
def loading() -> Future[None]:
    """Begin the import in a thread of its own, if nobody has; answers what can be waited for."""
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="great-expectations")
    begun = thread.submit(_load)
    thread.shutdown(wait=False)
    return begun


def engine() -> ModuleType:
    """`engine.py`, when the import is done. Raises what the import raises."""
    loading().result()
    return import_module(_ENGINE)


def _load() -> None:
    # The filter stays: putting the old ones back would undo what other threads have set meanwhile.
    warnings.filterwarnings("ignore", message=_OUTDATED, category=DeprecationWarning)
    for name in _RARELY:
        sys.modules.setdefault(name, _Late(name))
    with exported({"GX_ANALYTICS_ENABLED": "false"}):
        import_module(_ENGINE)
