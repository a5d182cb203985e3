"""Which of the files that are there are whole: those that have settled, or that a marker says so of.

`settle` (of the source in the settings, or a load option): so many seconds a file must lie unchanged, by its time of
change and the clock of this machine; 2 in a folder, 0 on S3, where objects appear whole. `marker` (a load option):
`{path}.done`, or a name like `_SUCCESS` in the file's folder; a marker speaks for files that are not newer than it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from lakehouse.settings import FilesSource
from lakehouse.sources.options import Options
from lakehouse.storage import StoredObject

PATIENCE = timedelta(seconds=2)
"""So long a load waits for files that are about to settle; others wait for the next load."""
_PATH = "{path}"
_NOW = timedelta(0)
_FAR = timedelta(days=1)


class Landed:
    """Tells whole files from those that somebody may still be writing."""

    def __init__(self, options: Options, source: FilesSource, *, folder: bool) -> None:
        self._marker = options.optional("marker")
        if self._marker is not None and (self._marker.startswith(".") or "/" in self._marker.removeprefix(_PATH)):
            raise options.wrong(
                "marker",
                expected="'{path}' and a suffix, or the name of a file beside it that does not begin with a dot",
                found=self._marker,
                remedy="Mend it.",
            )
        default = PATIENCE.total_seconds() if folder and self._marker is None else 0.0
        stated = default if source.settle is None else source.settle
        self._settle = timedelta(seconds=options.number("settle", stated))

    @property
    def marked(self) -> bool:
        """Whether markers are looked for, which lie beside the files."""
        return self._marker is not None

    def whole(self, listed: Iterable[StoredObject], fits: Callable[[str], bool]) -> Iterator[StoredObject]:
        """Of what is listed, the files whose path fits and that are whole. Markers are no files."""
        if self._marker is None:
            return (seen for seen in listed if fits(seen.path) and not self._wait(seen))
        there = {seen.path: seen for seen in listed}
        return (
            seen
            for path, seen in there.items()
            if fits(path) and not self._is_marker(path) and self._marked(seen, there) and not self._wait(seen)
        )

    def patience(self, listed: Iterable[StoredObject]) -> timedelta:
        """How long it is worth to wait for those of these files that are about to settle."""
        waits = (self._wait(seen) for seen in listed) if self._settle else ()
        return max((wait for wait in waits if wait <= PATIENCE), default=_NOW)

    def _wait(self, seen: StoredObject) -> timedelta:
        """How long until a file has settled."""
        if not self._settle:
            return _NOW
        age = datetime.now(UTC) - seen.modified
        # A time far ahead is none of this machine's: it would never come.
        return _NOW if age < -_FAR else max(_NOW, self._settle - age)

    def _marked(self, seen: StoredObject, there: dict[str, StoredObject]) -> bool:
        marker = there.get(self._marker_of(seen.path))
        return marker is not None and marker.modified >= seen.modified

    def _marker_of(self, path: str) -> str:
        marker = self._marker or ""
        return marker.replace(_PATH, path) if _PATH in marker else f"{path.rpartition('/')[0]}/{marker}".lstrip("/")

    def _is_marker(self, path: str) -> bool:
        marker = self._marker or ""
        name = path.rpartition("/")[2]
        return path.endswith(marker.removeprefix(_PATH)) if _PATH in marker else name == marker
