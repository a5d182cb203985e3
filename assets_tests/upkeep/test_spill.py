"""Folders that rewrites spill to: one for each, gone at the end, and gone soon after a process that died."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from assets_tests.forks import Fork
from lakehouse.errors import StateError
from lakehouse.storage.spill import spill_folder

HELD = """
import sys
from pathlib import Path
from lakehouse.storage.spill import spill_folder
with spill_folder(Path(sys.argv[1])) as folder:
    (folder / "duckdb_temp_storage-0.tmp").write_bytes(b"rows")
    print(folder.name, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return tmp_path / "upkeep"


def folders(room: Path) -> set[str]:
    return {path.name for path in room.iterdir()}


def test_a_folder_is_there_while_it_is_used(room: Path) -> None:
    with spill_folder(room) as folder:
        (folder / "spilled").write_bytes(b"rows")
        assert folders(room) == {folder.name}
    assert folders(room) == set()


def test_what_a_killed_process_left_goes_and_what_a_living_one_uses_stays(
    room: Path, fork: Callable[..., Fork]
) -> None:
    dead, alive = fork(HELD, room), fork(HELD, room)
    left, used = dead.line(), alive.line()
    assert folders(room) == {left, used}
    dead.kill()
    with spill_folder(room) as folder:
        assert folders(room) == {used, folder.name}
        assert [path.name for path in (room / used).iterdir()] == ["duckdb_temp_storage-0.tmp"]
    alive.go()
    assert alive.rest() == []
    assert folders(room) == set()


def test_a_folder_of_before_locks_goes_and_nothing_else_does(room: Path) -> None:
    (room / "spill-0abc").mkdir(parents=True)
    (room / "spill-0abc/duckdb_temp_storage-0.tmp").write_bytes(b"rows")
    (room / "places.json").write_text("{}")
    (room / "mine").mkdir()
    with spill_folder(room) as folder:
        assert folders(room) == {folder.name, "places.json", "mine"}


def test_many_at_once_never_take_each_others(room: Path) -> None:
    """The thing to fear: a folder is seen between being made and being locked."""

    def use(number: int) -> bool:
        with ExitStack() as stack:
            mine = [stack.enter_context(spill_folder(room)) for _ in range(5)]
            for folder in mine:
                (folder / str(number)).touch()
            return all((folder / str(number)).exists() for folder in mine)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(16)))
    assert folders(room) == set()


def test_a_room_that_is_a_file_is_told(room: Path) -> None:
    room.write_text("in the way")
    with pytest.raises(StateError, match="cannot be written to"), spill_folder(room):
        raise AssertionError
