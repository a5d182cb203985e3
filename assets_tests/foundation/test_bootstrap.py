"""`.venv` is made from the lock when that has changed, and left alone when not; its Python here is a script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.bootstrap import main

INTERPRETER = """#!/bin/sh
echo "$@" >> "{notes}"
case "$*" in *{fails}*) exit 7;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("deploy/uv.lock", "requirements.lock", "pyproject.toml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    interpreter(tmp_path)
    return tmp_path


def interpreter(checkout: Path, fails: str = "nothing-at-all") -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(INTERPRETER.format(notes=checkout / "notes", fails=fails))
    python.chmod(0o755)


def notes(checkout: Path) -> list[str]:
    file = checkout / "notes"
    return file.read_text().splitlines() if file.exists() else []


def test_the_locks_are_installed_with_their_hashes_and_then_nothing_is_done(checkout: Path) -> None:
    python = main(checkout)

    assert python == checkout / ".venv" / "bin" / "python"
    tool, packages, project, *_ = done = notes(checkout)
    assert tool.startswith("-m pip ")
    assert packages.startswith("-m uv ")
    for command, lock in ((tool, "deploy/uv.lock"), (packages, "requirements.lock")):
        assert f"--require-hashes -r {checkout / lock}" in command
    assert "--no-deps" in project

    main(checkout)
    assert notes(checkout) == done


@pytest.mark.parametrize("name", ["deploy/uv.lock", "requirements.lock", "pyproject.toml"])
def test_a_changed_lock_is_installed_again(checkout: Path, name: str) -> None:
    main(checkout)
    done = notes(checkout)
    (checkout / name).write_text("changed")
    main(checkout)
    assert notes(checkout) == done + done


def test_a_folder_without_its_stamp_is_not_trusted(checkout: Path) -> None:
    main(checkout)
    done = notes(checkout)
    (checkout / ".venv" / ".installed").unlink()
    main(checkout)
    assert notes(checkout) == done + done


@pytest.mark.parametrize("fails", ["uv.lock", "requirements.lock", "editable"])
def test_a_broken_installation_is_not_taken_for_a_finished_one(checkout: Path, fails: str) -> None:
    interpreter(checkout, fails)
    with pytest.raises(SystemExit) as ended:
        main(checkout)
    assert ended.value.code == 7
    assert not (checkout / ".venv" / ".installed").exists()

    interpreter(checkout)
    main(checkout)
    assert (checkout / ".venv" / ".installed").exists()


def test_it_needs_nothing_that_is_not_in_python(checkout: Path) -> None:
    # -S and -I: no site packages, no paths from outside; only the standard library and the file itself.
    main(checkout)
    script = Path(main.__code__.co_filename)
    program = f"import runpy; runpy.run_path({str(script)!r})['main'](__import__('pathlib').Path({str(checkout)!r}))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(notes(checkout)) >= 3
