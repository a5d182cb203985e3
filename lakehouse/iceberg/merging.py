"""Merging rows into a table by key: the effect beside `effects.py`, for rows that say which rows they replace.

How a merge goes is `merge/`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Unpack

import duckdb

from lakehouse.iceberg.commits.commit import already_done
from lakehouse.iceberg.commits.intent import AlreadyDone, Intent, Promise
from lakehouse.iceberg.commits.outcome import Commit
from lakehouse.iceberg.compaction.run import prepared
from lakehouse.iceberg.merge.changes import Changes
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.history import History, retired
from lakehouse.iceberg.merge.replace_keys import ReplaceKeys, refuse_partial
from lakehouse.iceberg.merge.resolve import Upsert
from lakehouse.iceberg.merge.rules import Rules, Way
from lakehouse.iceberg.merge.run import Run
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.merge.tombstones import LATE
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.parquet.conform import Rows
from lakehouse.iceberg.schemas.evolve import following
from lakehouse.tables import Table


class Merging(Opened):
    """Effects that take rows by their key. What `Effects` says of promises and errors holds for them too."""

    def merge(  # noqa: PLR0913  (all but the rows are named)
        self,
        rows: Rows,
        *,
        key: Sequence[str],
        connection: duckdb.DuckDBPyConnection,
        sequence: str | None = None,
        deleted: str | None = None,
        late: timedelta = LATE,
        evolve: Table | None = None,
        way: Way | None = None,
        **promise: Unpack[Promise],
    ) -> Commit:
        """Put rows in the place of those with the same key, and add those whose key is new, in one snapshot.

        `key`: one or several columns. Of several rows with a key the last one counts, or with `sequence` (a column of
        the table) the one with the highest; then a row that is older than the table's own changes nothing either, and
        one that is as old replaces it. `deleted`: a boolean column of the rows that the table does not have; where it
        is true, the key goes, and the row's other columns may be NULL. Columns of the table that the rows do not bring
        keep their values; for new keys they are NULL. A key that the table holds more than once is there once
        afterwards; the values kept are those of one of its rows, with `sequence` of the newest.

        `late`: how long after a key was deleted with a `sequence` a row of it may still come that is older than that;
        such a row changes nothing either. 30 days by default, by the time that the run key was issued at. Until then
        the key is remembered, beside the table's rows and on the branch; with zero the table forgets all such keys.

        `evolve`: the contract, which the table follows from the new snapshot on; columns that are new in it may be
        among the rows. Without a snapshot the table stays as it is.

        `way`: by delete files (`Way.MERGE_ON_READ`), by writing the touched files anew (`Way.COPY_ON_WRITE`), or file
        by file as costs less (None). Only files that may hold one of the keys are looked into, of these only key and
        sequence. `connection` is one of `connect(settings)`; what its memory limit does not hold is on disk.

        Serializable for keys: of merges of the same key at once one comes after the other, and no key is doubled. Other
        writers' new files are looked into at every attempt; when one of them holds a key of ours, or rows that we
        replace are gone, the merge begins anew, until the table's time for retries (60 s) is over.

        In the commit an updated key is one row added and one removed; the summary's `lakehouse.merge` tells `rows` and
        `keys` that came, how many keys were `updated`, `inserted`, `deleted` and `outdated`, the number of files that
        went each way, and the `rounds`. Nothing to do and no progress: no commit, operation "none".

        Raises besides what every effect does SchemaMismatch for rows that do not fit, NULL in key or sequence, and new
        keys without a required column, and a contract that contradicts the table; CommitError for a key that cannot be
        one (float, double, nested) and for files under equality deletes.
        """
        table, intent = self._load(), Intent.of(self.name, promise)
        try:
            # Asked before the rows are read, and again at every attempt to commit.
            intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        schema = table.schema() if evolve is None else following(table, evolve)[0].schema()
        rules = Rules.of(self.name, schema, rows.schema, key=key, sequence=sequence, deleted=deleted)
        strategy = Upsert(intent.branch, intent.issued_at, late)
        with prepared(connection) as cursor, Source(cursor, self.name, schema, rules, rows) as source:
            return Run(self._load, cursor, intent, source, rules, strategy, way, evolve).land(table)

    def replace_keys(
        self,
        rows: Rows,
        *,
        key: Sequence[str],
        connection: duckdb.DuckDBPyConnection,
        evolve: Table | None = None,
        way: Way | None = None,
        **promise: Unpack[Promise],
    ) -> Commit:
        """Put rows in the place of all that have the key of one of them, in one snapshot: delete and insert.

        `key`: one or several columns, which need not be unique, neither in the table nor in the rows: a day, or an
        order whose positions the rows are. All rows enter, in order of arrival; of the keys that do not come no row is
        touched. Rows are not compared with those that they replace: the same ones once more are a snapshot once more,
        unless the run key says that they are there. Keys that a merge with a `sequence` deleted stay remembered.

        For `evolve`, `way`, `connection` and what happens beside other writers see `merge`: of writes by the same key
        at once one comes after the other. The summary's `lakehouse.merge` tells `rows` and `keys` that came, and how
        many keys were `updated` and `inserted`. No rows and no progress: no commit, operation "none".

        Raises besides what every effect does SchemaMismatch for rows that do not fit or do not bring all columns, and
        for NULL in the key; CommitError for a key that cannot be one (float, double, nested) and for files under
        equality deletes.
        """
        table, intent = self._load(), Intent.of(self.name, promise)
        try:
            # Asked before the rows are read, and again at every attempt to commit.
            intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        then = table if evolve is None else following(table, evolve)[0]
        rules = Rules.of(self.name, then.schema(), rows.schema, key=key)
        refuse_partial(self.name, rules.lacking(then.schema()), retired(then, rows.schema))
        with prepared(connection) as cursor, Source(cursor, self.name, then.schema(), rules, rows) as source:
            return Run(self._load, cursor, intent, source, rules, ReplaceKeys(), way, evolve).land(table)

    def history(  # noqa: PLR0913  (all but the rows are named)
        self,
        rows: Rows,
        *,
        key: Sequence[str],
        effective: str,
        connection: duckdb.DuckDBPyConnection,
        tracked: Collection[str] | None = None,
        deleted: str | None = None,
        complete: bool = False,
        valid_from: str = "valid_from",
        valid_to: str = "valid_to",
        current: str | None = "is_current",
        surrogate: str | None = None,
        late: timedelta = LATE,
        evolve: Table | None = None,
        way: Way | None = None,
        **promise: Unpack[Promise],
    ) -> Commit:
        r"""Bring changes into a slowly changing dimension of type 2: a row for each version of a key, in one snapshot.

        A row of `rows` says what a key is like from `effective` on (a timestamp or date of the type of `valid_from`):
        it has the key and the attributes, which are all columns of the table but those named here. `deleted`: a boolean
        column that the table does not have; where it is true, the key is not there from then on, until a later change.

        Versions follow from all changes told so far, whatever their order: one holds from `valid_from` (inclusive) to
        `valid_to` (exclusive; NULL where it still holds, which `current` says too), and begins where a tracked
        attribute is not what it was before. A change that comes late splits the version that it falls into, one that
        repeats what is known makes none. Of two changes of one key at one moment the one that arrived last counts.
        NULL is a value as others; 0.0 and -0.0 are two, NaN is one. So versions of a key are never empty, never
        overlap, and at most one is current; exactly one, unless the key is deleted. The same rows once more change
        nothing: no commit, operation "none", unless progress comes with them. Versions that stay the same are not
        touched.

        `tracked`: the attributes whose change begins a version, all of them if not given. The others are overwritten
        (type 1) in the version that a change falls into: they are those of its last change in `rows`; what they were
        before is not kept.

        `late`: for how long it is remembered when a key was told once more to be what it was, or not to be there: what
        no version tells, and a change that comes later may fall before (30 days by default, by the times that run keys
        were issued at). After that, or with zero, which forgets all of it, a late change holds until the next version
        that the table has. To place it well in spite of that, tell the later changes of its key again.

        `complete`: the rows hold all changes of their keys. Then nothing that the table holds of these keys counts, and
        versions that do not follow from the rows go; as after a change of `tracked`, or of what the source says.

        `surrogate`: a text column, for a key of the version: the MD5 of the key columns and the microseconds of
        `valid_from` since 1970, joined by "|". In texts, "\" and "|" have a "\" before them; dates and times are
        numbers of days and microseconds, binaries and UUIDs hexadecimal.

        For `evolve`, `way`, `connection` and what happens beside other writers see `merge`: histories of the same key
        at once come one after the other. In the summary's `lakehouse.merge`, `inserted`, `updated` and `deleted` count
        versions, told apart by key and `valid_from`.

        Raises besides what every effect does SchemaMismatch for rows that do not fit, NULL in the key or in
        `effective`, and in required columns unless the row deletes; CommitError for columns that cannot be what they
        are said to be, for stored versions that overlap (but for `complete`), and for files under equality deletes.
        """
        table, intent = self._load(), Intent.of(self.name, promise)
        try:
            # Asked before the rows are read, and again at every attempt to commit.
            intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        then = table if evolve is None else following(table, evolve)[0]
        of = Dimension.of(
            self.name,
            then.schema(),
            key=key,
            valid_from=valid_from,
            valid_to=valid_to,
            current=current,
            surrogate=surrogate,
            tracked=tracked,
            retired=retired(then, rows.schema),
        )
        rules = Rules(of.key, columns=of.key)
        with prepared(connection) as cursor:
            changes = Changes(cursor, self.name, of, rows, effective=effective, deleted=deleted)
            strategy = History(of, changes.rows, intent.branch, intent.issued_at, late, complete)
            with Source(cursor, self.name, then.schema(), rules, changes.keys()) as source:
                return Run(self._load, cursor, intent, source, rules, strategy, way, evolve).land(table)
