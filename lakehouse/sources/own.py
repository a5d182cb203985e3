"""Readers that a project brings itself: a source whose kind is `package.module:Class` (docs/add-a-source.md).

The module is one that Python can import: of an installed package, or a file in the project's folder.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import cast

from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.settings import OwnSource, Settings
from lakehouse.sources.reader import SourceReader
from lakehouse.tables import Table

_METHODS = tuple(name for name in vars(SourceReader) if not name.startswith("_"))


def own_reader(settings: Settings, name: str, source: OwnSource, table: Table) -> SourceReader:
    """The reader of a table by the class that its source names, made as `Class(settings, source, table)`.

    Raises SettingsError where there is no such class or it is no reader, and what it raises of ours.
    """
    found = _class(settings, name, source)
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if not isinstance(found, type) or missing:
        raise _wrong(
            name,
            f"{source.kind} is no reader",
            expected=f"a class with the methods {', '.join(_METHODS)}",
            found=f"no {', no '.join(missing)}" if isinstance(found, type) else repr(found)[:80],
        )
    try:
        return cast("SourceReader", found(settings, source, table))
    except LakehouseError:
        raise
    except Exception as error:
        raise _wrong(
            name,
            f"{source.kind} cannot be made",
            expected="a class that takes settings, source, table",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _class(settings: Settings, name: str, source: OwnSource) -> object:
    module, _, attribute = source.kind.partition(":")
    folder = str(settings.project)
    if folder not in sys.path:
        # Behind all others: a file of the project hides no package.
        sys.path.append(folder)
    try:
        loaded = import_module(module)
    except Exception as error:
        # Whatever a module does as it is imported, the person who named it is told which it was.
        raise _wrong(
            name,
            f"the module {module} cannot be imported",
            expected=f"a module of {folder} or of an installed package",
            found=f"{type(error).__name__}: {error}",
        ) from error
    if not hasattr(loaded, attribute):
        raise _wrong(
            name, f"the module {module} has no {attribute}", expected=f"a class {attribute} in {loaded.__file__}"
        )
    return cast("object", getattr(loaded, attribute))


def _wrong(name: str, what: str, *, expected: str, found: str | None = None) -> SettingsError:
    return SettingsError(
        f"source {name!r}: {what}",
        expected=expected,
        found=found,
        remedy=f"Mend it, or `kind` in [tool.lakehouse.sources.{name}].",
    )
