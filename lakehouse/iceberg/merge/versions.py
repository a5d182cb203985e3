"""The versions of keys, computed from those that a table holds and from changes: SQL of DuckDB, and nothing else.

Every value is encoded (`reads/exact.py`), so equal means the same, NULL included. Windows see keys, moments and a hash
of what is tracked; attributes are looked up where hashes are alike, and for versions that come. How the rows come here
and go back is `history.py`; which column is what, `dimension.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from lakehouse.iceberg.merge.dimension import Dimension

STORED = "history_stored"
"""The table's rows of the keys that changes are about: `file`, `position`, and all columns of the table."""
CHANGES = "history_changes"
"""The changes: `row` (a number that grows as they arrive), `deleted` (never NULL), and the columns that rows bring."""
REPEATS = "history_repeats"
"""Moments at which these keys were found as they were before: the columns of the key, and `since`."""
REPEATED = "history_repeated"
"""As REPEATS, of the changes too: with the versions this is all that is known of when keys were seen."""
GONE = "history_gone"
"""`file` and `position` of the stored rows that are none of the versions."""
COME = "history_come"
"""The versions that are none of the stored rows: all columns of the table."""
_TOLD = "history_told"
_UNLIKE = "history_unlike"
_SPANS = "history_spans"
_STAY = "history_stay"
_STORED_WHO = "(file::BIGINT << 40) + position"
_CHANGE_WHO = "-1 - row"


def compute(connection: duckdb.DuckDBPyConnection, of: Dimension, *, complete: bool) -> None:
    """Make the temporary tables REPEATED, GONE and COME from STORED, CHANGES and REPEATS.

    What is known of a key is what it was like from some moments on, or that it was not there. The table tells of the
    beginnings of its versions, of an end at which no other begins, and of what held at the moments of REPEATS; of
    `complete` changes all of that does not count. At one moment a change counts before what the table tells, and of
    several changes the one that arrived last. A version is a run of moments with the same tracked attributes. The other
    attributes it has from its last change here, else from the last of the stored versions that it is made of.
    """
    made = {
        _TOLD: _told(of, complete=complete),
        _UNLIKE: _unlike(of),
        REPEATED: f"SELECT {_list(of.columns(of.key))}, since FROM {_TOLD} WHERE NOT {_BEGINS}",
        _SPANS: _spans(of),
        _STAY: _stay(of, complete=complete),
        GONE: f"SELECT file, position FROM {STORED} ANTI JOIN {_STAY} AS stay ON stay.stored = {_STORED_WHO}",
        COME: _come(of),
    }
    for name, query in made.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")


def broken(connection: duckdb.DuckDBPyConnection, of: Dimension) -> int:
    """How many stored versions are empty, or hold while another of their key does: we write none of these."""
    keys, since, until = _list(of.columns(of.key)), of.column(of.valid_from), of.column(of.valid_to)
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM (SELECT {since} AS since, {until} AS until,"
        f" lead({since}) OVER (PARTITION BY {keys} ORDER BY {since}) AS next FROM {STORED})"
        " WHERE since IS NULL OR until <= since OR (next IS NOT NULL AND (until IS NULL OR until > next))"
    ).fetchall()
    return int(count)


_BEGINS = (
    "(there IS DISTINCT FROM coalesce(was_there, false)"
    f" OR (there AND (seen <> was_seen OR coalesce((who, was_who) IN (FROM {_UNLIKE}), false))))"
)
"""Whether something else holds from a moment on. A key of which nothing is known is not there."""


def _told(of: Dimension, *, complete: bool) -> str:
    """What is known of each key at each moment, once, and what was known before.

    `who` tells of which row the attributes are, `seen` is a hash of the tracked ones.
    """
    keys = _list(of.columns(of.key))
    tracked = of.columns(of.tracked)
    seen = f"hash({_list(tracked)})" if tracked else "0::UBIGINT"
    told = _changes(of, seen)
    if not complete:
        told += f" UNION ALL {_stored(of, seen)} UNION ALL {_repeats(of, seen)}"
    return (
        "SELECT *, lag(there) OVER moments AS was_there, lag(seen) OVER moments AS was_seen,"
        f" lag(who) OVER moments AS was_who FROM (FROM ({told})"
        f" QUALIFY row_number() OVER (PARTITION BY {keys}, since ORDER BY arrived DESC NULLS LAST, there DESC) = 1)"
        f" WINDOW moments AS (PARTITION BY {keys} ORDER BY since)"
    )


def _changes(of: Dimension, seen: str) -> str:
    keys, since = _list(of.columns(of.key)), of.column(of.valid_from)
    return (
        f"SELECT {keys}, {since} AS since, row AS arrived, NOT deleted AS there, {_CHANGE_WHO} AS who, {seen} AS seen"
        f" FROM {CHANGES}"
    )


def _stored(of: Dimension, seen: str) -> str:
    """Where one version ends and another begins, what begins counts."""
    keys, since, until = _list(of.columns(of.key)), of.column(of.valid_from), of.column(of.valid_to)
    return (
        f"SELECT {keys}, {since}, NULL, true, {_STORED_WHO}, {seen} FROM {STORED}"
        f" UNION ALL SELECT {keys}, {until}, NULL, false, NULL, NULL FROM {STORED} WHERE {until} IS NOT NULL"
    )


def _repeats(of: Dimension, seen: str) -> str:
    """What the table says of the moments; at those that a version begins or ends at it says the same by itself."""
    keys, since, until = of.columns(of.key), of.column(of.valid_from), of.column(of.valid_to)
    same = " AND ".join(f"repeat.{column} = stored.{column}" for column in keys)
    return (
        f"SELECT {_list([f'repeat.{column}' for column in keys])}, repeat.since, NULL,"
        " stored.since IS NOT NULL AND coalesce(repeat.since < stored.until, true), stored.who, stored.seen"
        f" FROM {REPEATS} AS repeat ASOF LEFT JOIN (SELECT {_list(keys)}, {since} AS since, {until} AS until,"
        f" {_STORED_WHO} AS who, {seen} AS seen FROM {STORED}) AS stored ON {same} AND repeat.since >= stored.since"
    )


def _unlike(of: Dimension) -> str:
    """Neighbours whose tracked attributes have one hash and are not the same."""
    tracked = of.columns(of.tracked)
    now, was = (f"row({_list([f'{side}.{column}' for column in tracked])})" for side in ("now", "was"))
    return (
        f"SELECT told.who, told.was_who FROM {_TOLD} AS told"
        f" JOIN ({_attributes(tracked)}) AS now ON now.who = told.who"
        f" JOIN ({_attributes(tracked)}) AS was ON was.who = told.was_who"
        " WHERE told.there AND told.was_there AND told.seen = told.was_seen AND told.who <> told.was_who"
        f" AND {f'{now} IS DISTINCT FROM {was}' if tracked else 'false'}"
    )


def _attributes(columns: Sequence[str]) -> str:
    listed = "".join(f", {column}" for column in columns)
    return f"SELECT {_CHANGE_WHO} AS who{listed} FROM {CHANGES} UNION ALL SELECT {_STORED_WHO}{listed} FROM {STORED}"


def _spans(of: Dimension) -> str:
    """The versions by key, `begun` and `ended`; `who` has their attributes."""
    keys = _list(of.columns(of.key))
    begun = f"SELECT {keys}, there, who, since AS begun FROM {_TOLD} WHERE {_BEGINS}"
    if of.overwritten:
        begun = (
            f"SELECT {keys}, there, who, min(since) OVER (PARTITION BY {keys}, run) AS begun FROM"
            f" (SELECT *, sum({_BEGINS}::INTEGER) OVER (PARTITION BY {keys} ORDER BY since) AS run FROM {_TOLD})"
            f" QUALIFY row_number() OVER (PARTITION BY {keys}, run ORDER BY arrived IS NULL, since DESC) = 1"
        )
    return f"FROM (SELECT *, lead(begun) OVER (PARTITION BY {keys} ORDER BY begun) AS ended FROM ({begun})) WHERE there"


def _stay(of: Dimension, *, complete: bool) -> str:
    """The spans, by `who` and `begun`, that are rows of the table as they are: of the row that `stored` tells.

    What is there more than once, as only `complete` changes may find it (`broken`), goes and comes once.
    """
    same = [f"span.{column} = stored.{column}" for column in of.columns(of.key)]
    same += [f"({value}) IS NOT DISTINCT FROM stored.{of.column(name)}" for name, value in _computed(of).items()]
    attributes = of.columns(of.attributes)
    alike = [f"told.{column} IS NOT DISTINCT FROM stored.{column}" for column in attributes]
    return (
        f"WITH found AS (SELECT span.who, span.begun, (stored.file::BIGINT << 40) + stored.position AS stored"
        f" FROM {_SPANS} AS span JOIN {STORED} AS stored ON {' AND '.join(same)})"
        " FROM (SELECT * FROM found WHERE who = stored UNION ALL"
        f" SELECT found.* FROM found JOIN ({_attributes(attributes)}) AS told ON told.who = found.who"
        f" JOIN ({_attributes(attributes)}) AS stored ON stored.who = found.stored"
        f" WHERE found.who <> found.stored AND {' AND '.join(alike) or 'true'})"
        f"{' QUALIFY count(*) OVER (PARTITION BY who, begun) = 1' if complete else ''}"
    )


def _come(of: Dimension) -> str:
    """The other spans, with all columns of the table."""
    attributes = of.columns(of.attributes)
    computed = _computed(of) | {name: f"stored.{of.column(name)}" for name in of.retired}
    computed |= {name: f"told.{column}" for name, column in zip(of.attributes, attributes, strict=True)}
    columns = [(field.name, of.column(field.name)) for field in of.schema.fields]
    selected = _list([f"{computed.get(name, f'span.{column}')} AS {column}" for name, column in columns])
    return (
        f"SELECT {selected} FROM (FROM {_SPANS} ANTI JOIN {_STAY} USING (who, begun)) AS span"
        f" JOIN ({_attributes(attributes)}) AS told ON told.who = span.who{_before(of)}"
    )


def _computed(of: Dimension) -> dict[str, str]:
    """The columns that follow from a span."""
    computed = {of.valid_from: "span.begun", of.valid_to: "span.ended"}
    if of.current is not None:
        computed[of.current] = "span.ended IS NULL"
    if of.surrogate is not None:
        computed[of.surrogate] = of.hashed("span", "begun")
    return computed


def _before(of: Dimension) -> str:
    """What a version that begins where it did keeps of the columns that rows do not bring any more.

    Of several that begin there, as only `complete` changes may find them, the last one's.
    """
    if not of.retired:
        return ""
    begin = of.columns([*of.key, of.valid_from])
    same = [f"span.{column} = stored.{column}" for column in begin[:-1]]
    same.append(f"span.begun = stored.{begin[-1]}")
    once = f"SELECT DISTINCT ON ({_list(begin)}) * FROM {STORED} ORDER BY file DESC, position DESC"
    return f" LEFT JOIN ({once}) AS stored ON {' AND '.join(same)}"


def _list(parts: Sequence[str]) -> str:
    return ", ".join(parts)
