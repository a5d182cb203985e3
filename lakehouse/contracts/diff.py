"""Two versions of a contract compared: which differences break those who read the table, and why.

A difference breaks when a query that was right before may fail, or may meet values or rows that the contract ruled out
before. How versions are found and shown does not belong here (`cli/contract.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lakehouse.contracts.diff_columns import compare_columns
from lakehouse.contracts.diff_policies import compare_policies
from lakehouse.contracts.diff_rules import compare_rules
from lakehouse.contracts.difference import Difference, Move
from lakehouse.contracts.words import span_in_words
from lakehouse.tables import LoadPolicy, Severity, Table, TableRuleKind

_FOR_PEOPLE = "it is for people"
_PLAIN = {
    "description": _FOR_PEOPLE,
    "owners": _FOR_PEOPLE,
    "tags": _FOR_PEOPLE,
    "domain": "the table's name does not have it",
    "follows": "it tells when days are computed anew, not what they hold",
    "load": "where rows come from is the writer's business",
    "partition_by": "it changes how fast queries are, not what they answer",
    "sort_by": "it changes how fast queries are, not what they answer",
    "evolution": "it tells what the writer may change",
    "drop": "the column was no part of the contract",
}


def compare(old: Table, new: Table) -> tuple[Difference, ...]:
    """Every difference, first of columns, then keys, rules, and the table. Empty for versions that say the same."""
    found = [
        *compare_columns(old, new),
        *_keys(old, new),
        *compare_rules(old, new),
        *_windows(old, new),
        *_promises(old, new),
        *compare_policies(old, new),
        *_plain(old, new),
    ]
    found += _version(old, new, breaking=any(one.breaking for one in found))
    return tuple(found)


def _keys(old: Table, new: Table) -> Iterator[Difference]:
    """The primary key, and other columns that no two rows agree in."""
    before, after = frozenset(old.primary_key), frozenset(new.primary_key)
    change = f"{', '.join(old.primary_key) or 'none'} -> {', '.join(new.primary_key) or 'none'}"
    if before != after:
        yield Difference("primary key", Move.CHANGED, change, True, "what one row stands for has changed")
    elif old.primary_key != new.primary_key:
        yield Difference("primary key", Move.CHANGED, f"order {change}", False, "the same columns identify a row")
    had, has = _unique(old) - {before, after}, _unique(new) - {before, after}
    for columns in sorted(map(sorted, had - has)):
        yield Difference(f"unique {', '.join(columns)}", Move.REMOVED, "unique", True, "values may come twice")
    for columns in sorted(map(sorted, has - had)):
        yield Difference(f"unique {', '.join(columns)}", Move.ADDED, "unique", False, "values come once only")


def _unique(table: Table) -> set[frozenset[str]]:
    return {
        frozenset(rule.columns)
        for rule in table.table_rules
        if rule.kind is TableRuleKind.UNIQUE and rule.severity is Severity.ERROR
    }


def _windows(old: Table, new: Table) -> Iterator[Difference]:
    if (old.window_column, old.business_day) != (new.window_column, new.business_day):
        change = f"{_days(old)} -> {_days(new)}"
        yield Difference("window", Move.CHANGED, change, True, "rows belong to other days than before")
    elif old.window_start and new.window_start and old.window_start != new.window_start:
        later = new.window_start > old.window_start
        move = Move.NARROWED if later else Move.WIDENED
        reason = "days at the beginning are built no more" if later else "days are added at the beginning"
        yield Difference("window", move, f"start {old.window_start} -> {new.window_start}", later, reason)


def _days(table: Table) -> str:
    column = table.window_column or "none"
    return f"{column} ({table.business_day})" if table.business_day is not None else column


def _promises(old: Table, new: Table) -> Iterator[Difference]:
    """How late, how complete and how far back."""
    before, after = old.fresh_within, new.fresh_within
    if before and after and before != after:
        longer = after > before
        move, reason = (Move.WIDENED, "rows may come later") if longer else (Move.NARROWED, "rows come sooner")
        yield Difference("latency", move, f"{span_in_words(before)} -> {span_in_words(after)}", longer, reason)
    elif before and not after:
        yield Difference("latency", Move.REMOVED, span_in_words(before), True, "rows may come at any time")
    elif after and not before:
        yield Difference("latency", Move.ADDED, span_in_words(after), False, "it promises more")
    if old.load and new.load and old.load.limit != new.load.limit:
        more = any(now > then for then, now in zip(_limits(old.load), _limits(new.load), strict=True))
        reason = f"{'more' if more else 'fewer'} rows may be left out of a load"
        change = f"{old.load.limit} -> {new.load.limit}"
        yield Difference("rejectLimit", Move.WIDENED if more else Move.NARROWED, change, more, reason)
    if old.load and new.load and old.load.deletes_limit != new.load.deletes_limit:
        more = new.load.deletes_limit > old.load.deletes_limit
        reason = f"{'more' if more else 'fewer'} keys may be marked as deleted by one load"
        change = f"{old.load.deletes_limit:.2%} -> {new.load.deletes_limit:.2%} of the keys"
        yield Difference("deletesLimit", Move.WIDENED if more else Move.NARROWED, change, more, reason)
    kept, kept_now = old.upkeep.keep_snapshots, new.upkeep.keep_snapshots
    if kept != kept_now:
        less = kept_now < kept
        reason = f"queries of earlier states reach {'less far' if less else 'further'} back"
        change = f"keepSnapshotsDays {kept.days} -> {kept_now.days}"
        yield Difference("upkeep", Move.NARROWED if less else Move.WIDENED, change, less, reason)


def _plain(old: Table, new: Table) -> Iterator[Difference]:
    """What changes nothing for a query."""
    for name, reason in _PLAIN.items():
        one, other = (getattr(table, name) for table in (old, new))
        if name == "load":
            one, other = ((load.source, load.options, load.drift) if load else None for load in (old.load, new.load))
        # A window brings its partition with it.
        if one != other and not (name == "partition_by" and old.window_column != new.window_column):
            yield Difference(name, Move.CHANGED, "", False, reason)
    if old.upkeep.target_file_mb != new.upkeep.target_file_mb:
        change = f"targetFileMb {old.upkeep.target_file_mb} -> {new.upkeep.target_file_mb}"
        yield Difference("upkeep", Move.CHANGED, change, False, _PLAIN["sort_by"])


def _limits(load: LoadPolicy) -> tuple[float, float]:
    return load.reject_limit, math.inf if load.reject_rows is None else load.reject_rows


def _version(old: Table, new: Table, *, breaking: bool) -> Iterator[Difference]:
    """The contract's version (semver): a break asks for a higher first number."""
    change = f"{old.version} -> {new.version}"
    if breaking and _major(new.version) <= _major(old.version):
        reason = f"what breaks readers is a new major version, such as {_major(old.version) + 1}.0.0"
        stays = f"stays {new.version}" if old.version == new.version else change
        yield Difference("version", Move.CHANGED, stays, True, reason)
    elif old.version != new.version:
        yield Difference("version", Move.CHANGED, change, False, "it tells readers that the contract changed")


def _major(version: str) -> int:
    """The first number of a version; 0 when it does not begin with one."""
    head = version.lstrip("vV").split(".")[0]
    return int(head) if head.isdecimal() else 0
