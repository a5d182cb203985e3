"""Memory of the run keys whose snapshots are expired: 8 bytes a key, in one table property, for 30 days.

Whoever expires snapshots calls `remember` in the same transaction; `seen` answers for a key that is not on the ref. The
keys of snapshots that are there are found by `progress.py`.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import CatalogError, RunKeyTooOld
from lakehouse.iceberg.commits.progress import RUN_KEY, history, summary_of

RUN_KEYS = "lakehouse.run-keys"
"""The table property: JSON of `floor_ms`, `edges` (ids of snapshots) and `keys` (base64, 16 bytes each)."""

MOST = 2048
KEPT_FOR = timedelta(days=30)
_RECORD = struct.Struct(">QQ")
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Memory:
    """What a table remembers of removed snapshots of main.

    `keys` are (milliseconds since 1970 of the snapshot, hash), oldest first. No key that was issued at or before
    `floor_ms` can be vouched for. `edges` are the kept snapshots whose parents were removed with this memory: all
    history behind them is in here, or before the floor.
    """

    floor_ms: int = 0
    edges: frozenset[int] = frozenset()
    keys: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, metadata: TableMetadata) -> Memory:
        """What the table's property says. Raises CatalogError when it cannot be read."""
        text = metadata.properties.get(RUN_KEYS)
        if text is None:
            return cls()
        try:
            value = json.loads(text)
            records = _RECORD.iter_unpack(b64decode(value["keys"], validate=True))
            return cls(int(value["floor_ms"]), frozenset(map(int, value["edges"])), tuple(records))
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise CatalogError(
                f"the table property {RUN_KEYS} cannot be read",
                expected="what this project wrote there",
                found=text[:100],
                remedy="Remove the property once no run from before now will be tried again.",
            ) from error

    def encoded(self) -> str:
        """As the property holds it: at most 2,048 keys make 44 kB."""
        packed = b"".join(_RECORD.pack(*record) for record in self.keys)
        shape = {"floor_ms": self.floor_ms, "edges": sorted(self.edges), "keys": b64encode(packed).decode()}
        return json.dumps(shape, separators=(",", ":"))

    def pruned(self, now_ms: int, most: int = MOST) -> Memory:
        """Without keys older than 30 days and beyond `most`; the floor rises to the newest key that goes."""
        oldest = now_ms - KEPT_FOR // _MS
        fresh = [record for record in self.keys if record[0] >= oldest]
        kept = tuple(fresh[max(0, len(fresh) - most) :])
        gone = self.keys[: len(self.keys) - len(kept)]
        return Memory(max([self.floor_ms, *(at for at, _ in gone)]), self.edges, kept)


def remember(metadata: TableMetadata, removed: Collection[int], *, now: datetime, most: int = MOST) -> dict[str, str]:
    """The property to set in the transaction that removes these snapshots, by id; none if main has none of them.

    Only what leads to main's head is remembered: a run whose rows are not on main may write them again. Raises
    CatalogError when the property that is there cannot be read.
    """
    before, ids = Memory.of(metadata), frozenset(removed)
    path = list(history(metadata, metadata.current_snapshot()))
    newest = next((number for number, snapshot in enumerate(path) if snapshot.snapshot_id in ids), None)
    if newest is None:
        return {}
    # A snapshot below a removed one may be kept, by a tag: main's history does not lead to it any more.
    below = path[newest:]
    ours = {(snapshot.timestamp_ms, _hash(key)) for snapshot in below if (key := summary_of(snapshot).get(RUN_KEY))}
    last = path[-1]
    # Keys that are not below what is left of main come from a line that a restore has left.
    theirs = {key for key in before.keys if _is_cut(last) and key[0] <= last.timestamp_ms}
    # What another program removed is in no memory: once its edge is gone, the floor stands for it.
    floor = max(before.floor_ms, _hole(last, before) or 0)
    vouched = {snapshot.snapshot_id for snapshot in below} & ids
    edges = frozenset(
        snapshot.snapshot_id
        for snapshot in metadata.snapshots
        if snapshot.snapshot_id not in ids
        and (snapshot.parent_snapshot_id in vouched or snapshot.snapshot_id in before.edges)
    )
    memory = Memory(floor, edges, tuple(sorted(ours | theirs)))
    return {RUN_KEYS: memory.pruned(_ms(now), most).encoded()}


def seen(metadata: TableMetadata, head: Snapshot | None, run_key: str, issued_at: datetime) -> bool:
    """Whether a key that is not on the ref made a snapshot below it that is expired.

    Raises RunKeyTooOld where that cannot be told: the key was issued before the memory's floor, or before the oldest
    snapshot that is kept where another program expired what was below it.
    """
    oldest = _last(history(metadata, head))
    if oldest is None or not _is_cut(oldest):
        return False
    memory = Memory.of(metadata)
    # A younger key was removed from another line of history, e.g. one that a restore has left.
    if any(at <= oldest.timestamp_ms and key == _hash(run_key) for at, key in memory.keys):
        return True
    hole = _hole(oldest, memory)
    floor = memory.floor_ms if hole is None else max(hole, memory.floor_ms)
    if _ms(issued_at) <= floor:
        raise RunKeyTooOld(
            f"run key {run_key!r} is older than what the table remembers of its runs",
            expected=f"a key issued after {_time(floor)}",
            found=f"issued at {_time(_ms(issued_at))}",
            remedy="Nothing was written. See whether its rows are there; if not, run again with a new key.",
        )
    return False


def _hole(oldest: Snapshot, memory: Memory) -> int | None:
    """The time before which nothing is known, where history is cut off below a snapshot and the memory has no rest."""
    return oldest.timestamp_ms if _is_cut(oldest) and oldest.snapshot_id not in memory.edges else None


def _is_cut(oldest: Snapshot) -> bool:
    """Whether history went on below the oldest snapshot that is kept.

    PyIceberg's expiry takes the parent's id from a child, Java's leaves it; the first snapshot of a table has sequence
    number 1.
    """
    return oldest.parent_snapshot_id is not None or (oldest.sequence_number or 0) > 1


def _hash(run_key: str) -> int:
    return int.from_bytes(blake2b(run_key.encode(), digest_size=8).digest(), "big")


def _last(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    last = None
    for last in snapshots:  # noqa: B007  (the last one is what is asked for)
        pass
    return last


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d %H:%M:%S %Z}"
