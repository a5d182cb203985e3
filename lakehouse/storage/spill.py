"""Folders that DuckDB spills to while it works; those of processes that died are removed.

Each is locked while it is in use: however a process ends, the operating system lets go of its locks. What is spilled
is the caller's business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from lakehouse.storage.room import make_room, no_room

_log = structlog.get_logger(__name__)
_PREFIX = "spill-"


@contextmanager
def spill_folder(room: Path) -> Iterator[Path]:
    """A folder in `room`, removed at the end; those that nobody uses any more go now. Raises StateError."""
    make_room(room)
    with ExitStack() as stack:
        try:
            # One at a time, so that nobody sees a folder that is not locked yet.
            with _locked(room):
                _clear(room)
                made = TemporaryDirectory(prefix=_PREFIX, dir=room, ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(made))
                stack.enter_context(_locked(folder))
        except OSError as error:
            raise no_room(error, room) from error
        yield folder


def _clear(room: Path) -> None:
    for folder in room.glob(f"{_PREFIX}*"):
        try:
            with _locked(folder, LOCK_NB):
                shutil.rmtree(folder)
        except BlockingIOError:
            continue
        except OSError as error:
            _log.warning("spilled files left behind", folder=str(folder), reason=str(error))
        else:
            _log.info("spilled files of a process that died removed", folder=str(folder))


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        flock(handle, LOCK_EX | how)
        yield
    finally:
        os.close(handle)
