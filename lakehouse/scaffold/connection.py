"""A connection of `lakehouse add` as settings: the address in the project's pyproject.toml, its password in the state.

What the settings are, and how strong each place is, stands in `settings/`.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from lakehouse.errors import SettingsError, StateError
from lakehouse.scaffold.candidate import table_word
from lakehouse.settings import FilesSource, PostgresSource, Settings, secrets_file

_SCHEMES = ("postgres://", "postgresql://")
_SECRET_KEYS = {"password", "sslpassword"}


@dataclass(frozen=True)
class Connection:
    """A source of the settings, under a name; the secret part of it apart."""

    name: str
    source: PostgresSource | FilesSource

    @property
    def public(self) -> dict[str, str]:
        """What pyproject.toml may say."""
        if isinstance(self.source, FilesSource):
            return {"kind": "files", "root": self.source.root}
        return {"kind": "postgres", "url": without_password(self.source.url.get_secret_value())}

    @property
    def secret(self) -> SecretStr | None:
        """The whole address, when it holds a password."""
        if isinstance(self.source, FilesSource):
            return None
        return self.source.url if self.source.url.get_secret_value() != self.public["url"] else None


def is_address(source: str) -> bool:
    """Whether what a person named is a database, not a path."""
    return source.startswith(_SCHEMES)


def default_name(url: str) -> str:
    """A connection's name, from the database of its address."""
    return table_word(urlsplit(url).path.strip("/") or "postgres")


def without_password(url: str) -> str:
    """The address without its password, wherever it stands in it. Raises SettingsError for what is no address."""
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        if ":" not in user and not any(key in _SECRET_KEYS for key, _ in pairs):
            return url
        query = urlencode([pair for pair in pairs if pair[0] not in _SECRET_KEYS], safe="/")
        return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))
    except ValueError:
        raise SettingsError(
            "the source is not a PostgreSQL address",
            expected="postgresql://user:password@host:port/database, with special characters percent-encoded",
            remedy="Correct it.",
        ) from None


def check_name(settings: Settings, connection: Connection) -> bool:
    """Whether the settings know the connection already. Raises SettingsError when the name means another one."""
    known = settings.sources.get(connection.name)
    if known is None:
        return False
    if (
        isinstance(known, PostgresSource | FilesSource)
        and Connection(connection.name, known).public == connection.public
    ):
        return True
    raise SettingsError(
        f"the project has another source {connection.name!r} already",
        found=f"one of kind {known.kind}",
        remedy="Give this one a name of its own with --name.",
    )


def project_text(text: str, connection: Connection) -> str:
    """The text of pyproject.toml with the connection added behind the other tables of [tool.lakehouse].

    Nothing else of it changes. Raises SettingsError when that cannot be done in its form.
    """
    values = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in connection.public.items()]
    table = "\n".join([f"[tool.lakehouse.sources.{connection.name}]", *values])
    lines = text.rstrip().splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("[")]
    ours = [number for number in heads if lines[number].startswith(("[tool.lakehouse]", "[tool.lakehouse."))]
    end = next((number for number in heads if ours and number > ours[-1]), len(lines))
    before, after = "\n".join(lines[:end]).rstrip(), "\n".join(lines[end:])
    changed = f"{before}\n\n{table}\n" + (f"\n{after}\n" if after else "")
    if not ours or _parsed(changed) != _with_source(_parsed(text), connection):
        raise SettingsError(
            "the source cannot be added to pyproject.toml by itself",
            expected="tables [tool.lakehouse] and [tool.lakehouse.sources.<name>]",
            remedy=f"Add this to it, then run the command again: {table!r}",
        )
    return changed


def save(settings: Settings, connection: Connection) -> None:
    """Write pyproject.toml, and the secret to the secrets file, which only its owner may read."""
    file = settings.project / "pyproject.toml"
    try:
        changed = project_text(file.read_text(encoding="utf-8"), connection)
        if connection.secret is not None:
            _save_secret(settings, connection.name, connection.secret)
        file.write_text(changed, encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"{error.filename or file} cannot be written: {error.strerror}",
            remedy="Mend its permissions, or free space.",
        ) from error


def _save_secret(settings: Settings, name: str, url: SecretStr) -> None:
    file = secrets_file(settings.state)
    file.parent.mkdir(parents=True, exist_ok=True)
    known = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    entry = f"\n[sources.{name}]\nurl = {json.dumps(url.get_secret_value(), ensure_ascii=False)}\n"
    if name in known.get("sources", {}):
        raise SettingsError(
            f"{file} has a secret for another source {name!r} already",
            remedy="Remove it there, or choose another --name.",
        )
    # Made for its owner alone from the first byte on.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as stream:
        stream.write(entry)
    file.chmod(0o600)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _with_source(project: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    tool = project.get("tool", {})
    section = tool.get("lakehouse", {})
    sources = {**section.get("sources", {}), connection.name: connection.public}
    return {**project, "tool": {**tool, "lakehouse": {**section, "sources": sources}}}
