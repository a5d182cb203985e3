"""Which validations the data docs hold: a small file beside the pages. How a page looks does not belong here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import structlog

from lakehouse.errors import SettingsError
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

_FORMAT = 1
_NAME = "history.json"


@dataclass(frozen=True)
class Validation:
    """One table, judged in one run. `page` is relative to the site.

    Of `rules` that were judged, `failed` block and do not hold, and `warned` do not hold and do not block.
    """

    table: TableName
    run_id: str
    at: datetime
    branch: str
    snapshot_id: int | None
    page: str
    rules: int
    failed: int
    warned: int

    @property
    def outcome(self) -> str:
        """`passed`, `warned` or `failed`: in the words of the pages and of their styles."""
        return "failed" if self.failed else "warned" if self.warned else "passed"

    @property
    def passed(self) -> int:
        """How many rules hold."""
        return self.rules - self.failed - self.warned


def read_history(site: Path) -> tuple[Validation, ...]:
    """What the site holds, oldest first; nothing when there is none yet, or one that a later version wrote."""
    try:
        told = json.loads((site / _NAME).read_text(encoding="utf-8"))
        if told["format"] != _FORMAT:
            _log.warning("data_docs_begin_anew", found_format=told["format"], format=_FORMAT)
            return ()
        return tuple(_validation(entry) for entry in told["validations"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, SettingsError) as error:
        # Written in one piece, so this is the work of others; pages are a view of results that ops.checks keeps.
        _log.warning("data_docs_begin_anew", reason=str(error))
        return ()


def history_text(validations: Iterable[Validation]) -> str:
    """The content of the file."""
    entries = [{**asdict(one), "table": str(one.table), "at": one.at.isoformat()} for one in validations]
    return json.dumps({"format": _FORMAT, "validations": entries}, indent=0)


def history_file(site: Path) -> Path:
    """Where it stands."""
    return site / _NAME


def newest(validations: Sequence[Validation], count: int) -> list[Validation]:
    """The last so many of each table, in the order they came."""
    seen: dict[TableName, int] = defaultdict(int)
    kept = []
    for one in reversed(validations):
        seen[one.table] += 1
        if seen[one.table] <= count:
            kept.append(one)
    return kept[::-1]


def _validation(entry: dict[str, object]) -> Validation:
    values = {
        **entry,
        "table": TableName.parse(str(entry["table"])),
        "at": datetime.fromisoformat(str(entry["at"])),
    }
    return Validation(**values)  # type: ignore[arg-type]  # what the file holds is what `history_text` wrote
