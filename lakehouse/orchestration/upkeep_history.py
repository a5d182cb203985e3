"""A table's turns of upkeep out of `ops.upkeep`, as the page that the UI links to. Its looks are `upkeep_page.py`."""

from __future__ import annotations

from typing import Any

from lakehouse.iceberg import Lake
from lakehouse.ledger import UPKEEP
from lakehouse.orchestration.upkeep_page import Turn, draw_turns
from lakehouse.services.pages import page_url, pages_folder
from lakehouse.settings import Settings
from lakehouse.storage import make_room
from lakehouse.tables import TableName

_COLUMNS = (
    "run_id",
    "started_at",
    "action",
    "outcome",
    "detail",
    "files_before",
    "files_after",
    "bytes_before",
    "bytes_after",
)


def turns(lake: Lake, name: TableName) -> list[Turn]:
    """What upkeep did to a table, oldest first; none where nothing is recorded. Raises CatalogError, StateError."""
    if not lake.exists(UPKEEP.name):
        return []
    # A table's name holds no quote.
    entries = lake.table(UPKEEP.name).scan(columns=_COLUMNS, where=f"table_name = '{name}'").read_all().to_pylist()
    runs: dict[tuple[Any, str], list[dict[str, Any]]] = {}
    for entry in entries:
        runs.setdefault((entry["started_at"], entry["run_id"]), []).append(entry)
    return [_turn(runs[run]) for run in sorted(runs)]


def write_page(settings: Settings, lake: Lake, name: TableName) -> str | None:
    """Draw the page of a table anew; answers its address, None while nothing serves it or nothing was done yet.

    Raises StateError when the folder of pages cannot be written to.
    """
    found = turns(lake, name)
    if not found:
        return None
    file = make_room(pages_folder(settings) / "upkeep") / f"{name}.html"
    file.write_text(draw_turns(str(name), found), encoding="utf-8")
    return page_url(settings, f"upkeep/{name}.html")


def _turn(entries: list[dict[str, Any]]) -> Turn:
    """The actions of one run: their figures are those of the run."""
    first = entries[0]
    told = sorted(entries, key=lambda entry: str(entry["action"]))
    return Turn(
        at=first["started_at"],
        files_before=first["files_before"],
        files_after=first["files_after"],
        bytes_before=first["bytes_before"],
        bytes_after=first["bytes_after"],
        done="; ".join(f"{entry['action']}: {entry['detail']}" for entry in told if entry["outcome"] != "nothing"),
    )
