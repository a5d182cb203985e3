"""The one path normaliser: every spelling of a place becomes `file:///...` or `s3://bucket/...`.

What is at a path does not belong here: no function of this module touches a disk or a network.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from lakehouse.errors import SettingsError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(/.*)", re.DOTALL)


def normalise(path: str) -> str:
    """One spelling for each place, without a trailing slash.

    `/x`, `file:/x`, `file://localhost/x` and `file:///x` become `file:///x`; `s3a://` and `s3n://` become `s3://`.
    Nothing is decoded: Iceberg metadata holds paths as they are on disk. Raises SettingsError for a relative path or
    an unknown scheme.
    """
    matched = _SCHEME.fullmatch(path)
    if matched is None:
        scheme, rest = "file", path
    else:
        scheme, rest = matched[1].lower(), matched[2]
    if scheme == "file":
        rest = rest.removeprefix("//localhost")
        if rest.startswith("/"):
            return "file:///" + _squeeze(rest).strip("/")
    elif scheme in {"s3", "s3a", "s3n"} and rest.startswith("//") and rest.strip("/"):
        bucket, _, key = rest.strip("/").partition("/")
        return f"s3://{bucket}/{key}".rstrip("/")
    raise SettingsError(
        f"{path!r} is not a place that the lake can use",
        expected="an absolute path, file:///folder or s3://bucket/prefix",
        remedy="Write it in one of these forms.",
    )


def from_uri(uri: str) -> str:
    """Normalise a URI that was percent-encoded, as `Path.as_uri` makes them: `file:///a%20b` becomes `file:///a b`."""
    return normalise(unquote(uri) if uri.lower().startswith("file:") else uri)


def is_s3(path: str) -> bool:
    """Whether the path is on S3."""
    return normalise(path).startswith("s3://")


def is_under(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it, however both are spelled."""
    inner, outer = normalise(path), normalise(folder)
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def child(folder: str, name: str) -> str:
    """A path below a folder."""
    return f"{normalise(folder).rstrip('/')}/{name.strip('/')}"


def local_path(path: str) -> Path:
    """The local file of a `file:` path. Raises SettingsError when it is elsewhere."""
    place = normalise(path)
    if not place.startswith("file://"):
        raise SettingsError(
            f"{path!r} is not on this machine", expected="a file path", remedy="Use a local folder here."
        )
    return Path(place.removeprefix("file://"))


def _squeeze(path: str) -> str:
    """`//x//y` is `/x/y` on a disk (not on S3, where an empty name is a name)."""
    return re.sub(r"/{2,}", "/", path)
