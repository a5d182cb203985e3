"""The table in which rejected records wait: its columns, and the states that a record may be in.

A record is known by its `reject_id`, a hash of where it came from and of what it was. What is wrong with it is decided
in `door.py`, how it gets here is `rejects.py`, what becomes of it later `states.py` and `replay.py`.
"""

from __future__ import annotations

import codecs
import hashlib
from enum import StrEnum
from typing import TypeAlias

import pyarrow as pa

from lakehouse.iceberg import arrow_schema
from lakehouse.sources.reader import MAX_PAYLOAD
from lakehouse.tables import Column, Layer, Table, TableName

Record: TypeAlias = dict[str, str | bytes | int | None]
"""What is said of one rejected record, by column."""


class State(StrEnum):
    """What became of a rejected record."""

    OPEN = "open"
    """Its load was published without it: it waits for somebody to replay or discard it."""
    HELD = "held"
    """Its load is not published (yet): the next load reads it again."""
    LOADED = "loaded"
    """A load has brought it after all, or what its source had in its place by then."""
    REPLAYED = "replayed"
    """A replay has brought it."""
    DISCARDED = "discarded"
    """Somebody has said that nobody needs it."""


WAITING = (State.OPEN, State.HELD)
"""The states of records that are in no table but the quarantine."""


def quarantine_columns(*, personal: bool) -> tuple[Column, ...]:
    """The columns of every quarantine table; `personal` says that payloads may hold personal data."""
    return (
        Column("reject_id", "string", required=True, description="Hash of the record's coordinates and payload"),
        Column("table_name", "string", required=True, description="The bronze table that the record was meant for"),
        Column(
            "payload",
            "string",
            required=True,
            personal=personal,
            description="The record as it came, cut at 64 KiB: its text, or a JSON object of its values as texts",
        ),
        Column("broken_rules", "string", required=True, description="JSON list of the names of the broken rules"),
        Column("found", "string", personal=personal, description="JSON object of the values that broke them"),
        Column("source", "string", required=True, description="System, table or file, and position"),
        Column("error", "string", required=True, description="What is wrong, in words"),
        Column("run_key", "string", required=True, description="Key of the load that met it first"),
        Column("extracted_at", "timestamptz", required=True, description="When that load began (UTC)"),
        Column("state", "string", required=True, description=f"One of {', '.join(State)}"),
        Column("payload_bytes", "long", description="The length of the record as it came, also where it was cut"),
        Column("payload_raw", "binary", personal=personal, description="Its bytes, where they are no text in UTF-8"),
        Column(
            "parsed",
            "string",
            personal=personal,
            description="JSON object of the values that have their column's type, as texts of that type",
        ),
        Column("state_at", "timestamptz", description="Since when it is in its state (UTC)"),
        Column("state_by", "string", description="The run that put it there"),
        Column("decided_by", "string", description="The attempt to load that rejected it; then the replay's number"),
        Column("held_from", "string", description="Of held ones: the position that their load began at, as JSON"),
        Column("why", "string", description="Why it was discarded"),
    )


QUARANTINE_SCHEMA: pa.Schema = arrow_schema(quarantine_columns(personal=False))
"""The Arrow schema of rejected records."""


def quarantine_table(table: Table) -> Table:
    """Where the rejected records of a bronze table wait: `quarantine.<domain>_<table>`."""
    return Table(
        name=TableName(Layer.QUARANTINE, f"{table.domain}_{table.name.table}"),
        domain=table.domain,
        description=f"Records that broke the contract of {table.name}.",
        columns=quarantine_columns(personal=bool(table.personal_columns)),
        file=table.file,
        owners=table.owners,
        primary_key=("reject_id",),
    )


def reject_id(source: str, payload: bytes) -> str:
    """The identity of a rejected record: 64 hex digits of SHA-256."""
    return hashlib.sha256(source.encode() + b"\0" + payload).hexdigest()


def kept(payload: bytes, size: int | None = None) -> Record:
    """The columns of a payload: at most 64 KiB of its text, how long it was, and its bytes where they are no text."""
    size = len(payload) if size is None else size
    head = payload[:MAX_PAYLOAD]
    try:
        # A cut may go through a letter, whose first bytes are left out then.
        text, raw = head.decode() if size <= MAX_PAYLOAD else _whole_letters(head), None
    except UnicodeDecodeError:
        # What stands for a byte that is no text is four letters long.
        text, raw = _whole_letters(head.decode(errors="backslashreplace").encode()[:MAX_PAYLOAD]), head
    return {"payload": text, "payload_bytes": size, "payload_raw": raw}


def _whole_letters(head: bytes) -> str:
    return codecs.getincrementaldecoder("utf-8")().decode(head)
