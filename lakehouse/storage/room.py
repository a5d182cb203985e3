"""Whether a folder of the state takes what is about to be written there. What is written does not belong here."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from lakehouse.errors import StateError

_PROBE_BYTES = 1024 * 1024
UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EFBIG}
)
"""What a disk that is full or read-only answers, or a file in the place of a folder."""


def make_room(folder: Path) -> Path:
    """Make the folder, and prove with a file of 1 MiB that it can be written to. Raises StateError.

    Asked before a child process is trusted with the folder: on a full disk it would die without a word, for its log
    has no room either.
    """
    probe = folder / ".room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            with suppress(OSError):
                probe.unlink()
    except OSError as error:
        raise no_room(error, folder) from error
    return folder


def no_room(error: OSError, folder: Path | None = None) -> StateError:
    """The StateError for what the operating system said when `folder`, or the file that it named, was written."""
    place = folder or error.filename or "the state folder"
    return StateError(
        f"{place} cannot be written to",
        found=error.strerror or str(error),
        remedy="Free some space, mend its permissions, or set LAKEHOUSE_STATE to another folder.",
    )
