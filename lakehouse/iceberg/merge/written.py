"""The files of one round: what comes, what goes, and what hides rows of files that stay. No snapshot knows them yet.

Which rows come and go is a strategy's; how a file is written anew `rewrite.py`, how rows are hidden `deletes/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import structlog
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask

from lakehouse.iceberg.deletes.hidden import hidden_rows
from lakehouse.iceberg.deletes.write import Hiding, PositionDeletes
from lakehouse.iceberg.merge.choose import Loss, ways
from lakehouse.iceberg.merge.old_rows import by_file
from lakehouse.iceberg.merge.rewrite import rewritten
from lakehouse.iceberg.merge.rules import Way
from lakehouse.iceberg.merge.strategy import Resolved, Round
from lakehouse.iceberg.parquet.writer import write_files
from lakehouse.iceberg.selection.plan import Touched

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Written:
    """What a round changes of the table's files.

    `touched` are the live files that rows go from; of these `removed` do not stay. `rows` are counts for the commit's
    proof, `files` how many of the touched went each way.
    """

    io: FileIO
    touched: tuple[Touched, ...]
    removed: frozenset[str]
    added: tuple[DataFile, ...]
    hiding: Hiding
    rows: Mapping[str, int]
    files: Mapping[str, int]

    def remove(self) -> None:
        """Remove the new files, which no snapshot can know."""
        _remove(self.io, [*self.added, *self.hiding.added])


def write(now: Round, resolved: Resolved, way: Way | None) -> Written:
    """Write the rows that come, and take the rows that go out of their files. What fails leaves no file.

    Raises CatalogError, StateError, SchemaMismatch, and CommitError when the rows that stay in a file that is written
    anew are not proved to be all there.
    """
    gone = {now.found.files[number]: pa.array(positions) for number, positions in by_file(now.cursor, resolved.gone)}
    chosen = _ways(now, gone, way)
    anew = [of for of in gone if chosen[of] is Way.COPY_ON_WRITE]
    hider = PositionDeletes(now.name, now.table)
    added: list[DataFile] = []
    with ThreadPoolExecutor(1, thread_name_prefix="deletes") as beside:
        # One file is encoded by one thread; another core has time for these.
        hiding = beside.submit(hider.hide, {of: gone[of] for of in gone if chosen[of] is Way.MERGE_ON_READ})
        try:
            if resolved.rows is not None:
                added += write_files(now.table, resolved.rows())
            copies = rewritten(now.cursor, now.sources, now.name, now.table, anew, {of.path: gone[of] for of in anew})
            added += copies.added
            hidden = hiding.result()
        except BaseException:
            if not hiding.cancel() and hiding.exception() is None:
                hider.remove()
            _remove(now.table.io, added)
            raise
    return Written(
        now.table.io,
        tuple(gone),
        frozenset(of.path for of in anew),
        tuple(added),
        hidden,
        {
            "read": copies.read,
            "kept": copies.kept,
            "removed": copies.removed,
            "whole": 0,
            "hidden": sum(len(positions) for of, positions in gone.items() if chosen[of] is Way.MERGE_ON_READ),
        },
        dict(Counter(chosen.values())),
    )


def _ways(now: Round, gone: Mapping[Touched, pa.Array], way: Way | None) -> dict[Touched, Way]:
    """How rows go from each file."""
    hidden = hidden_rows(now.table, now.name, [FileScanTask(of.file, set(of.deletes)) for of in gone])
    losses = [
        Loss(of.file.record_count, of.file.file_size_in_bytes, len(hidden.get(of.path, ())), len(positions))
        for of, positions in gone.items()
    ]
    return dict(zip(gone, ways(losses, way), strict=True))


def _remove(io: FileIO, files: Iterable[DataFile]) -> None:
    for path in (str(file.file_path) for file in files):
        try:
            io.delete(path)
        except FileNotFoundError:
            _log.debug("file was not there", location=path)
        except OSError as error:
            _log.warning("file left behind", location=path, reason=str(error))
