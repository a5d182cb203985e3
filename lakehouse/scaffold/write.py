"""The files of a survey: contracts and staging models, first as texts, so that a dry run shows what would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lakehouse.contracts import read_tables
from lakehouse.contracts.template import render_contract
from lakehouse.errors import SettingsError, StateError
from lakehouse.scaffold.connection import check_name, project_text, save
from lakehouse.scaffold.proposal import Proposal
from lakehouse.scaffold.survey import Survey
from lakehouse.settings import Settings, secrets_file
from lakehouse.tables import TableName
from lakehouse.tables.sql import quote


@dataclass(frozen=True)
class Plan:
    """What a survey comes to: files by path, the tables that they declare, and those that have a contract."""

    settings: Settings
    survey: Survey
    files: Mapping[Path, str]
    added: tuple[Proposal, ...]
    kept: Mapping[TableName, Path]
    new_connection: bool

    @property
    def secrets_file(self) -> Path:
        """Where the connection's secret goes."""
        return secrets_file(self.settings.state)

    def write(self) -> None:
        """Write the files, none of which is there yet, and the connection. Raises StateError, SettingsError."""
        if self.new_connection and self.added:
            save(self.settings, self.survey.connection)
        for path, text in self.files.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("x", encoding="utf-8") as stream:
                    stream.write(text)
            except OSError as error:
                raise StateError(
                    f"{path} cannot be written: {error.strerror}", remedy="Mend its permissions, or free space."
                ) from error


def plan(settings: Settings, found: Survey, *, owner: str) -> Plan:
    """The files for what was found. Tables that have a contract keep it, wherever it stands; so do staging models.

    Raises SettingsError when the connection's name is taken, ContractError when the project's contracts do not compile.
    """
    defs, dbt = _first(settings.defs, "defs"), _first(settings.dbt, "dbt")
    known = check_name(settings, found.connection)
    if not known:
        project_text((settings.project / "pyproject.toml").read_text(encoding="utf-8"), found.connection)
    declared = read_tables([folder for folder in settings.defs if folder.is_dir()])
    kept = {one.name: declared[one.name].file for one in found.proposals if one.name in declared}
    added = tuple(one for one in found.proposals if one.name not in kept)
    files: dict[Path, str] = {}
    for one in added:
        files[defs / one.domain / one.name.layer.value / f"{one.name.table}.yaml"] = contract_text(one, owner)
        staging = dbt / "models" / one.domain / "staging" / f"stg_{one.name.table}.sql"
        if not staging.exists():
            files[staging] = staging_text(one)
    return Plan(settings, found, files, added, kept, not known)


def contract_text(proposal: Proposal, owner: str) -> str:
    """The contract as YAML, with a word on where its rules come from."""
    looked = f"{proposal.rows:,} rows" if proposal.complete else f"{proposal.rows:,} of the rows"
    head = (
        f"# Proposed by `lakehouse add` from {looked} of {proposal.label}; yours to change. Limits and sets of values\n"
        "# hold for these: keep those that must hold for all, since rows that break them go to the quarantine.\n"
    )
    body = render_contract(
        proposal.name,
        proposal.domain,
        proposal.columns,
        description=proposal.description,
        owners=[owner],
        primary_key=proposal.primary_key,
        load=proposal.load,
        limits=proposal.limits,
    )
    # Texts of people are indented, or in quotes: no other line begins so.
    before, at, after = body.rpartition("customProperties:\n")
    why = "".join(f"# {line}\n" for line in proposal.why.splitlines())
    return f"{head}{before}{why}{at}{after}"


def staging_text(proposal: Proposal) -> str:
    """The model that silver reads: the columns as they are, and when each version was loaded."""
    reserved = _reserved()
    names = [_written(column.name, reserved) for column in proposal.columns]
    listed = ",\n".join(f"    {name}" for name in [*names, "_extracted_at"])
    source = f"{{{{ source('{proposal.name.layer.value}', '{proposal.name.table}') }}}}"
    return f"-- Every version of every row, as loaded: silver picks the current one.\nselect\n{listed}\nfrom {source}\n"


def _written(name: str, reserved: frozenset[str]) -> str:
    plain = name.isascii() and name.isidentifier() and name == name.lower() and name not in reserved
    return name if plain else quote(name)


def _reserved() -> frozenset[str]:
    with duckdb.connect(":memory:") as connection:
        words = connection.execute("select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'")
        return frozenset(str(word) for (word,) in words.fetchall())


def _first(folders: Sequence[Path], setting: str) -> Path:
    if not folders:
        raise SettingsError(f"the project has no folder {setting!r}", remedy=f"Set `{setting}` in [tool.lakehouse].")
    return folders[0]
