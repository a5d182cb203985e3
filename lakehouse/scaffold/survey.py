"""One look at a source: its tables, a contract proposed for each, and those that are left out, with the reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from lakehouse.errors import SettingsError
from lakehouse.scaffold.candidate import Candidate, Refusal, table_word
from lakehouse.scaffold.connection import Connection, default_name, is_address
from lakehouse.scaffold.files import file_candidates, find_files
from lakehouse.scaffold.postgres import postgres_candidates
from lakehouse.scaffold.proposal import Proposal, propose
from lakehouse.settings import FilesSource, PostgresSource, Settings
from lakehouse.sources.postgres.connection import Address

_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Request:
    """What to look at. `tables`: only these; `schema`, `watermark`: of databases; `prefix`: of the tables' names."""

    source: str
    domain: str
    tables: tuple[str, ...] | None = None
    schema: str = "public"
    name: str | None = None
    watermark: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found."""

    domain: str
    connection: Connection
    proposals: tuple[Proposal, ...]
    refusals: tuple[Refusal, ...]


def survey(settings: Settings, request: Request, say: Callable[[str], None] = lambda _: None) -> Survey:
    """Look at a source; nothing is written. `say` hears the label of each table when it has been looked at.

    Raises SettingsError for names that cannot be used, and SourceError for a source that cannot be read.
    """
    for what, word in (("--domain", request.domain), ("--name", request.name), ("--prefix", request.prefix)):
        if word and not _WORD.fullmatch(word):
            raise SettingsError(
                f"{what} {word!r} cannot be used", expected="a-z, 0-9 and _, a letter first", remedy="Choose another."
            )
    connection, candidates = _opened(settings, request)
    proposals: dict[str, Proposal] = {}
    refusals: list[Refusal] = []
    for one in candidates:
        say(one.label)
        if isinstance(one, Refusal):
            refusals.append(one)
            continue
        proposal = propose(one, domain=request.domain, connection=connection.name, prefix=request.prefix)
        first = proposals.setdefault(proposal.name.table, proposal)
        if first is not proposal:
            reason = f"it would be called {proposal.name}, as {first.label} is"
            refusals.append(Refusal(one.label, reason, "Add it by itself with --tables and a --prefix."))
    return Survey(request.domain, connection, tuple(proposals.values()), tuple(refusals))


def _opened(settings: Settings, request: Request) -> tuple[Connection, Iterator[Candidate | Refusal]]:
    if is_address(request.source):
        source = PostgresSource(url=SecretStr(request.source))
        connection = Connection(request.name or default_name(request.source), source)
        address = Address.of(settings, source, connection.name)
        return connection, postgres_candidates(address, request.schema, request.tables, request.watermark)
    if "://" in request.source:
        raise SettingsError(
            f"sources of kind {request.source.partition('://')[0]!r} cannot be added by themselves",
            expected="postgresql://..., a file, a folder, or a pattern of files",
            remedy="Write the contract by hand: docs/add-a-table.md.",
        )
    if request.watermark is not None:
        raise SettingsError("--watermark is for databases", remedy="Leave it out: files are known by size and time.")
    files = find_files(request.source)
    folder = FilesSource(root=_root(settings, files.root))
    connection = Connection(request.name or table_word(files.root.name), folder)
    return connection, file_candidates(settings, connection.name, files, request.tables)


def _root(settings: Settings, folder: Path) -> str:
    """As the settings take it: from the state folder, where both lie in the project, so that the project may move."""
    if folder.is_relative_to(settings.project) and settings.state.is_relative_to(settings.project):
        return Path(os.path.relpath(folder, settings.state)).as_posix()
    return str(folder)
