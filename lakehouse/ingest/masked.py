"""A quarantined record as people may see it who may not see personal data. Where it is shown is `cli/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lakehouse.quality.masking import MASK
from lakehouse.settings import Settings
from lakehouse.sources.payloads import moved_fields
from lakehouse.tables import Table


def masked(settings: Settings, table: Table, record: dict[str, Any]) -> dict[str, Any]:
    """A record without values of personal columns; a payload whose columns cannot be told apart shows nothing.

    Of an API's record the columns stand at the top then, where their names tell which of them are personal.
    """
    if not table.personal_columns:
        return record
    shown = {name: _without(table, record.get(name)) for name in ("found", "parsed")}
    shown["payload"] = _without(table, record.get("payload"), moved_fields(settings, table))
    return {**record, **shown, "payload_raw": None if record.get("payload_raw") is None else MASK}


def _without(table: Table, text: str | None, moved: Callable[[object], object] | None = None) -> str | None:
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError:
        return MASK
    if moved is not None:
        values = moved(values)
    if not isinstance(values, dict):
        return MASK
    # What the contract does not know may be personal too.
    declared = {column.name for column in table.source_columns} - table.personal_columns
    shown = {name: value if name in declared or value is None else MASK for name, value in values.items()}
    return json.dumps(shown, ensure_ascii=False)
